/** Where documents come from: a table of file formats, and the files that a path, a folder or a pattern names. */
import { createHash } from 'node:crypto'
import { globSync, readdirSync, statSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { basename, extname, join, relative, sep } from 'node:path'
import { InputError, systemCode } from '../base/errors.ts'
import { type Part, partsOf } from './cut.ts'
import { readParquet } from './parquet.ts'
import { textParts, utf8Of } from './text-parts.ts'

export interface ReadOptions {
  /** Of JSON Lines and Parquet: where the text is. */
  readonly field: string
  /** Text files are handed on as bytes, in whatever encoding they are. */
  readonly bytes: boolean
  /** Hears every chunk of the file, to take its digest. */
  readonly onChunk: (chunk: Uint8Array) => void
}

/** A document for each row; for a text file the file. */
type Reader = (path: string, options: ReadOptions) => AsyncIterable<Part>

const FORMATS: Readonly<Record<string, Reader>> = {
  '.jsonl': readJsonLines,
  '.ndjson': readJsonLines,
  '.parquet': readParquet,
}

/** What a folder is searched for. Any other file is taken as text if it is named itself. */
const IN_FOLDERS = new Set([...Object.keys(FORMATS), '.txt', '.text', '.md'])

const CHUNK = 256 * 1024
/** Of JSON Lines: a line that is longer is no document, but some other file. */
const LONGEST_LINE = 64 << 20
const NEWLINE = 0x0a

interface SourceFile {
  readonly path: string
  /** Relative to the source, with slashes: the same wherever the source lies. */
  readonly name: string
  readonly bytes: number
}

/** One source as the user named it, and its files in the order of their names. */
export interface Source {
  readonly name: string
  readonly files: readonly SourceFile[]
}

/** @throws InputError if there is nothing, or nothing but empty files */
export function findSource(pattern: string): Source {
  const found = filesOf(pattern)
  const files = found
    .map(({ path, name }) => ({ path, name, bytes: statSync(path).size }))
    .filter(({ bytes }) => bytes > 0)
    .sort((a, b) => (a.name < b.name ? -1 : 1))
  if (files.length > 0) return { name: basename(pattern), files }
  throw new InputError(
    found.length === 1
      ? `The data file ${pattern} is empty: put a text into it.`
      : found.length > 1
        ? `${pattern}: all ${found.length} files are empty.`
        : `${pattern} names no ${[...IN_FOLDERS].join(', ')} file: name a file, a folder or a pattern such as 'texts/*.txt'.`,
  )
}

function filesOf(pattern: string): { path: string; name: string }[] {
  const named = (path: string, root: string) => ({
    path,
    name: relative(root, path).split(sep).join('/'),
  })
  try {
    if (!statSync(pattern).isDirectory()) return [{ path: pattern, name: basename(pattern) }]
    return (
      readdirSync(pattern, { recursive: true, withFileTypes: true })
        .filter(
          (entry) => !entry.isDirectory() && IN_FOLDERS.has(extname(entry.name).toLowerCase()),
        )
        .map((entry) => join(entry.parentPath, entry.name))
        // Links count as what they lead to: downloads are often kept so.
        .filter((path) => statSync(path, { throwIfNoEntry: false })?.isFile() === true)
        .map((path) => named(path, pattern))
    )
  } catch (error) {
    const code = systemCode(error)
    if (code === undefined) throw error
    if (code === 'ENOENT' && /[*?[{]/.test(pattern)) {
      return globSync(pattern)
        .filter((path) => statSync(path).isFile())
        .map((path) => named(path, '.'))
    }
    const what = code === 'ENOENT' ? 'does not exist' : `cannot be read (${code})`
    throw new InputError(
      `The data file ${pattern} ${what}. Put it there, or name another by --data.`,
    )
  }
}

/** The documents of a file, in parts, in order; never more of it in memory than a part, a line or a row group. */
export function readDocuments(path: string, options: ReadOptions): AsyncIterable<Part> {
  return (FORMATS[extname(path).toLowerCase()] ?? readText)(path, options)
}

/** True for what needs no preparing: tokens of bytes can be taken from it as it is. */
export function isPlainText(path: string): boolean {
  return (
    FORMATS[extname(path).toLowerCase()] === undefined &&
    statSync(path, { throwIfNoEntry: false })?.isFile() === true
  )
}

async function* chunksOf(
  path: string,
  onChunk: ReadOptions['onChunk'],
): AsyncGenerator<Uint8Array> {
  const file = await open(path)
  try {
    for (;;) {
      // Each its own: what is cut from a chunk may outlive the next one.
      const { bytesRead, buffer } = await file.read(Buffer.allocUnsafeSlow(CHUNK), 0, CHUNK)
      if (bytesRead === 0) return
      const chunk = buffer.subarray(0, bytesRead)
      onChunk(chunk)
      yield chunk
    }
  } finally {
    await file.close()
  }
}

function readText(path: string, { bytes, onChunk }: ReadOptions): AsyncGenerator<Part> {
  return textParts(chunksOf(path, onChunk), path, bytes)
}

async function* readJsonLines(path: string, { field, onChunk }: ReadOptions): AsyncGenerator<Part> {
  const decode = utf8Of(path)
  let rest: Uint8Array = new Uint8Array()
  let line = 0
  const document = (bytes: Uint8Array): Iterable<Part> => {
    line++
    const text = decode(bytes, false)
    return text.trim() === '' ? [] : partsOf(textIn(text, field, `${path}, line ${line}`))
  }
  for await (const chunk of chunksOf(path, onChunk)) {
    const bytes: Uint8Array = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    let from = 0
    // What is left of the chunk before had no end of line in it.
    for (
      let end = bytes.indexOf(NEWLINE, rest.length);
      end >= 0;
      end = bytes.indexOf(NEWLINE, from)
    ) {
      yield* document(bytes.subarray(from, end))
      from = end + 1
    }
    rest = bytes.subarray(from)
    if (rest.length > LONGEST_LINE) {
      throw new InputError(
        `${path}, line ${line + 1} is longer than ${LONGEST_LINE} bytes: no JSON Lines. Cut it, or name the file .txt.`,
      )
    }
  }
  if (rest.length > 0) yield* document(rest)
}

/** The text in a row. @throws InputError if the row has none */
function textIn(line: string, field: string, where: string): string {
  let row: unknown
  try {
    row = JSON.parse(line)
  } catch (error) {
    throw new InputError(`${where} is no JSON: ${(error as Error).message}`)
  }
  const text = typeof row === 'string' ? row : (row as Record<string, unknown> | null)?.[field]
  // Half a surrogate pair has no UTF-8.
  if (typeof text === 'string') return text.toWellFormed()
  const names = typeof row === 'object' && row !== null ? Object.keys(row).join(', ') : typeof row
  throw new InputError(
    `${where} has no text in the field ${field}; it has ${names}. Name the field by --field.`,
  )
}

/** Takes the digest of a file while it is read; what a reader skipped counts too. */
export function fileDigest() {
  const hash = createHash('sha256')
  return { add: (chunk: Uint8Array) => void hash.update(chunk), hex: () => hash.digest('hex') }
}
