/** Counts what the style guide of CONTRIBUTING.md asks for: sizes of files, classes and functions, and the words of comments and pages. */
import ts from 'typescript'
import { longSentences, WORDS_MAX } from '../docs/sentences.ts'
import { filesUnder, parseSource, readSource } from './sources.ts'

/** Lines that a file, a class and a function fit. What is longer says why in a comment. */
const GUIDES = { file: 350, class: 250, function: 60 } as const

const TOP_FOLDERS = ['src', 'stages', 'protocols', 'sim', 'test', 'bench'] as const

type Kind = keyof typeof GUIDES

/** A file, a class or a function, and where it is. */
interface Piece {
  readonly kind: Kind
  readonly path: string
  readonly name: string
  readonly lines: number
  /** True if a comment of the piece says why it is long. */
  readonly hasReason: boolean
}

interface FolderCounts {
  readonly folder: string
  readonly files: number
  readonly lines: number
  /** Number of pieces above the guide, by kind. */
  readonly above: Readonly<Record<Kind, number>>
}

export interface Counts {
  readonly folders: readonly FolderCounts[]
  /** Entries of `src/`, with `src/` itself, as `find src -maxdepth 1` prints them. */
  readonly srcEntries: number
  readonly longest: readonly Piece[]
  /** Pieces above the guide, longest first. */
  readonly above: readonly Piece[]
  readonly whoever: number
  readonly fragments: number
  readonly pages: readonly { readonly path: string; readonly longSentences: number }[]
}

/** Counts the checkout at `root`. */
export function countCheckout(root: string): Counts {
  const code = TOP_FOLDERS.flatMap((folder) => filesUnder(root, folder, '.ts'))
  const pages = [
    ...filesUnder(root, 'docs', '.md'),
    ...filesUnder(root, '.', '.md').filter((path) => !path.includes('/')),
  ]
  const pieces = code.flatMap((path) => piecesOf(root, path))
  const above = pieces
    .filter(({ kind, lines }) => lines > GUIDES[kind])
    .sort((a, b) => b.lines - a.lines)
  // These counts name the words that they look for.
  const texts = [...code, ...pages]
    .filter((path) => !path.startsWith('test/architecture/'))
    .map((path) => readSource(root, path))
  return {
    folders: TOP_FOLDERS.map((folder) => folderCounts(folder, pieces)),
    srcEntries: entriesOf(code) + 1,
    longest: (['file', 'class', 'function'] as const).map((kind) => longest(pieces, kind)),
    above,
    whoever: sum(texts.map((text) => matches(text, /\bwhoever\b/gi))),
    fragments: sum(texts.map((text) => matches(text, /\/\*\*[\s*]*(Of|That|Those)\b/g))),
    pages: pages.map((path) => ({
      path,
      longSentences: longSentences(readSource(root, path)).length,
    })),
  }
}

/** The counts as lines of text. */
export function describeCounts(counts: Counts): string[] {
  const { folders, above, pages } = counts
  const table = [
    ['folder', 'files', 'lines', ...kinds.map((kind) => `${kind} > ${GUIDES[kind]}`)],
    ...folders.map((one) => [
      one.folder,
      one.files,
      one.lines,
      ...kinds.map((kind) => one.above[kind]),
    ]),
    [
      'all',
      sum(folders.map(({ files }) => files)),
      sum(folders.map(({ lines }) => lines)),
      ...kinds.map((kind) => sum(folders.map((one) => one.above[kind]))),
    ],
  ]
  return [
    ...table.map((cells) =>
      cells
        .map((cell) => String(cell).padEnd(15))
        .join('')
        .trimEnd(),
    ),
    '',
    `entries of src, with src itself    ${counts.srcEntries}`,
    ...counts.longest.map(({ kind, ...one }) => `longest ${kind.padEnd(27)}${describe(one)}`),
    `"whoever"                          ${counts.whoever}`,
    `doc comments "Of", "That", "Those" ${counts.fragments}`,
    `sentences over ${WORDS_MAX} words             ${sum(pages.map((page) => page.longSentences))}`,
    ...pages
      .filter((page) => page.longSentences > 0)
      .map((page) => `  ${page.path.padEnd(33)}${page.longSentences}`),
    '',
    'Above a guide, without a reason in a comment:',
    ...above
      .filter((one) => !one.hasReason)
      .map((one) => `  ${one.kind.padEnd(9)}${describe(one)}`),
    '',
    'Above a guide, with a reason in a comment:',
    ...above.filter((one) => one.hasReason).map((one) => `  ${one.kind.padEnd(9)}${describe(one)}`),
  ]
}

const kinds = Object.keys(GUIDES) as Kind[]

function describe({ path, name, lines }: Omit<Piece, 'kind'>): string {
  return `${String(lines).padEnd(6)}${name === path ? path : `${path} ${name}`}`
}

/** The file itself, its classes and its functions. */
function piecesOf(root: string, path: string): Piece[] {
  const file = parseSource(root, path)
  const pieces: Piece[] = [
    {
      kind: 'file',
      path,
      name: path,
      lines: file.text.split('\n').length - 1,
      hasReason: saysWhy(file.text.slice(0, file.statements[0]?.getStart() ?? 0)),
    },
  ]
  const visit = (node: ts.Node): void => {
    const kind = ts.isClassLike(node) ? 'class' : isCounted(node) ? 'function' : null
    if (kind !== null) {
      const start = file.getLineAndCharacterOfPosition(node.getStart()).line
      const end = file.getLineAndCharacterOfPosition(node.end).line
      const name = nameOf(node)
      const hasReason = saysWhy(commentsOf(node))
      pieces.push({ kind, path, name, lines: end - start + 1, hasReason })
    }
    ts.forEachChild(node, visit)
  }
  visit(file)
  return pieces
}

/** Callbacks of `describe` group tests as a folder groups files, so that their length says nothing. */
function isCounted(node: ts.Node): boolean {
  if (!ts.isFunctionLike(node) || !('body' in node) || node.body === undefined) return false
  const call = node.parent
  return !(ts.isCallExpression(call) && /^describe\b/.test(call.expression.getText()))
}

function nameOf(node: ts.Node): string {
  if (ts.isConstructorDeclaration(node)) return `${nameOf(node.parent)}.constructor`
  const { name } = node as ts.NamedDeclaration
  if (name !== undefined) {
    const own = name.getText()
    return ts.isMethodDeclaration(node) && ts.isClassLike(node.parent)
      ? `${nameOf(node.parent)}.${own}`
      : own
  }
  const { parent } = node
  if (ts.isVariableDeclaration(parent) || ts.isPropertyAssignment(parent)) return nameOf(parent)
  if (ts.isCallExpression(parent)) return `callback of ${parent.expression.getText().slice(0, 40)}`
  return '(no name)'
}

/** Comments before the node, and before the statement or the member that holds it. */
function commentsOf(node: ts.Node): string {
  let outer = node
  while (outer.parent !== undefined && outer.parent.pos === outer.pos) outer = outer.parent
  const holder =
    ts.findAncestor(node, (one) => ts.isStatement(one) || ts.isClassElement(one)) ?? node
  const leading = (one: ts.Node) => one.getFullText().slice(0, one.getStart() - one.getFullStart())
  return leading(node) + leading(outer) + leading(holder)
}

/** A reason names the length: "Longer than ...: ..." or "Long because ...". */
function saysWhy(comment: string): boolean {
  return /\blong(er)?\b/i.test(comment)
}

function folderCounts(folder: string, pieces: readonly Piece[]): FolderCounts {
  const own = pieces.filter(({ path }) => path.startsWith(`${folder}/`))
  const files = own.filter(({ kind }) => kind === 'file')
  const above = (kind: Kind) =>
    own.filter((one) => one.kind === kind && one.lines > GUIDES[kind]).length
  return {
    folder,
    files: files.length,
    lines: sum(files.map(({ lines }) => lines)),
    above: { file: above('file'), class: above('class'), function: above('function') },
  }
}

function longest(pieces: readonly Piece[], kind: Kind): Piece {
  return pieces
    .filter((one) => one.kind === kind)
    .reduce((most, one) => (one.lines > most.lines ? one : most))
}

function entriesOf(code: readonly string[]): number {
  return new Set(code.filter((path) => path.startsWith('src/')).map((path) => path.split('/')[1]))
    .size
}

function matches(text: string, pattern: RegExp): number {
  return [...text.matchAll(pattern)].length
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, one) => total + one, 0)
}
