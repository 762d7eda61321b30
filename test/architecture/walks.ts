/** Reads the walks of docs/ARCHITECTURE.md, and compares each step with the code that it names. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import ts from 'typescript'
import { parseSource } from './sources.ts'

/** One step: `FILE`, `FUNCTION`: a sentence. → `NEXT` */
interface WalkStep {
  readonly path: string
  /** `name`, or `Class.name`; a private method has its `#`. */
  readonly name: string
  readonly sentence: string
  /** Name that leads to the step after; null in the last step. */
  readonly next: string | null
}

export interface Walk {
  readonly title: string
  readonly steps: readonly WalkStep[]
}

const STEP = /^\d+\. `([^`]+\.ts)`, `([^`]+)`: (.*?)(?: → (?:.* )?`([^`]+)`)?$/

/** The numbered lists under headings that begin with "Walk:". @throws Error for an item in another form */
export function readWalks(page: string): Walk[] {
  return page
    .split(/^#+ /m)
    .filter((section) => section.startsWith('Walk: '))
    .map((section) => {
      const [title = '', ...lines] = section.split('\n')
      const items = lines.filter((line) => /^\d+\. /.test(line))
      return { title: title.slice('Walk: '.length), steps: items.map(stepOf) }
    })
}

function stepOf(line: string): WalkStep {
  const [, path, name, sentence, next = null] = STEP.exec(line) ?? []
  if (path === undefined || name === undefined || sentence === undefined) {
    throw new Error(
      `A step of a walk has the form "1. \`FILE\`, \`FUNCTION\`: TEXT → \`NEXT\`", not: ${line}`,
    )
  }
  return { path, name, sentence, next }
}

/** What is wrong with the steps of a walk, each as a sentence; none if the walk is true to the code at `root`. */
export function faultsOf(root: string, { steps }: Walk): string[] {
  return steps.flatMap((step, i) => {
    const place = `${i + 1}. ${step.path} ${step.name}`
    const code = functionText(root, step)
    if (code === null) return [`${place}: the file has no such function.`]
    const following = steps[i + 1]
    if (following === undefined) return []
    if (step.next === null) return [`${place}: the step does not say what it calls next.`]
    if (!mentions(code, step.next)) return [`${place}: the function never names ${step.next}.`]
    if (lastName(following.name) === lastName(step.next)) return []
    const next = functionText(root, following)
    if (next !== null && mentions(next, step.next)) return []
    return [`${place}: ${step.next} is neither the function of the next step nor named in it.`]
  })
}

/** Text of the function with the comments inside it taken out; null if the file has none of that name. */
function functionText(root: string, { path, name }: WalkStep): string | null {
  if (!existsSync(join(root, path))) return null
  const [own, owner] = name.split('.').reverse()
  let found: string | null = null
  const visit = (node: ts.Node): void => {
    if (
      isFunction(node) &&
      nameOf(node) === own &&
      (owner === undefined || isInside(node, owner))
    ) {
      found ??= node.getText()
    }
    ts.forEachChild(node, visit)
  }
  visit(parseSource(root, path))
  return found === null ? null : withoutComments(found)
}

function isFunction(node: ts.Node): boolean {
  return ts.isFunctionLike(node) && 'body' in node && node.body !== undefined
}

/** Name of a function, of a method, or of the variable or property that a function is the value of. */
function nameOf(node: ts.Node): string | null {
  if (ts.isConstructorDeclaration(node)) return 'constructor'
  const { name } = node as ts.NamedDeclaration
  if (name !== undefined) return name.getText()
  const parent: ts.Node | undefined = node.parent
  if (parent === undefined) return null
  const isNamed =
    ts.isVariableDeclaration(parent) ||
    ts.isPropertyAssignment(parent) ||
    ts.isPropertyDeclaration(parent)
  return isNamed ? parent.name.getText() : null
}

function isInside(node: ts.Node, owner: string): boolean {
  return (
    ts.findAncestor(
      node.parent,
      (one) => (ts.isClassLike(one) && one.name?.text === owner) || nameOf(one) === owner,
    ) !== undefined
  )
}

function mentions(code: string, name: string): boolean {
  const word = lastName(name).replace(/[$]/g, '\\$')
  return new RegExp(`(?<![\\w$])${word}(?![\\w$])`).test(code)
}

function lastName(name: string): string {
  return name.split('.').at(-1)!.replace('#', '')
}

function withoutComments(code: string): string {
  return code.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(?<=^|\s)\/\/.*$/gm, '')
}
