/**
 * Reads Markdown pages as prose: finds sentences that are too long, and names of files that do not exist. Code fences,
 * comments and the targets of links are no prose. A span of code counts as one word.
 */
import { existsSync, globSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** Largest number of words in a sentence. */
export const WORDS_MAX = 25

/** A piece of a page's text, with the number of the line on which it begins. */
export interface Place {
  readonly line: number
  readonly text: string
}

const NEW_ITEM = /^(?:[-*+]|\d+\.)\s+/

/** The lines of a page outside code fences and HTML comments. */
function linesOf(page: string): Place[] {
  let isCode = false
  const withoutComments = page.replaceAll(/<!--.*?-->/gs, lineBreaksOf)
  return withoutComments.split('\n').flatMap((line, index) => {
    const text = line.trim()
    if (text.startsWith('```')) isCode = !isCode
    return isCode ? [] : [{ line: index + 1, text }]
  })
}

function lineBreaksOf(text: string): string {
  return text.replaceAll(/[^\n]/g, '')
}

/** Lines that form a paragraph, a heading, an item of a list or a cell of a table. */
function blocksOf(page: string): Place[][] {
  const blocks: Place[][] = [[]]
  for (const { line, text } of linesOf(page)) {
    if (/^$|^```/.test(text)) blocks.push([])
    else if (text.startsWith('#')) blocks.push([{ line, text }], [])
    else if (text.startsWith('|')) {
      const cells = plain(text).split(/(?<!\\)\|/)
      blocks.push(...cells.map((cell) => [{ line, text: cell.trim() }]), [])
    } else if (NEW_ITEM.test(text)) blocks.push([{ line, text: text.replace(NEW_ITEM, '') }])
    else blocks.at(-1)!.push({ line, text })
  }
  return blocks.filter(({ length }) => length > 0)
}

/** Replaces a span of code by one word and a link by its text. Line breaks stay. */
function plain(text: string): string {
  return text
    .replaceAll(/`[^`]*`/g, (code) => `code${lineBreaksOf(code)}`)
    .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
}

function countWords(text: string): number {
  return text.split(/\s+/).filter((word) => /[\p{L}\p{N}]/u.test(word)).length
}

/** Sentences of more than `WORDS_MAX` words. */
export function longSentences(page: string): Place[] {
  return blocksOf(page).flatMap((block) => {
    const text = plain(block.map((place) => place.text).join('\n'))
    let end = 0
    return text.split(/(?<=[.!?]["')\]*_]*\s)/).flatMap((sentence) => {
      const begin = end
      end += sentence.length
      if (countWords(sentence) <= WORDS_MAX) return []
      const { line } = block[text.slice(0, begin).split('\n').length - 1]!
      return [{ line, text: sentence.trim().replaceAll(/\s+/g, ' ') }]
    })
  })
}

const SOURCE = /^(?:[\w.-]+\/)*[\w.-]+\.ts$/
const FOLDER = /^(?:bench|protocols|sim|src|stages|test)\/[\w./-]*$/

/**
 * Source files and folders that a page names in spans of code or links, and that `root` does not have. The name of a
 * source file may leave out its first folders.
 *
 * @param path path of the page relative to `root`, from which its links start
 */
export function missingFiles(page: string, path: string, root: string): Place[] {
  const sources = globSync('{bench,protocols,sim,src,stages,test}/**/*.ts', { cwd: root })
  const exists = (name: string) =>
    sources.some((source) => source.endsWith(`/${name}`)) || existsSync(join(root, name))
  return linesOf(page).flatMap(({ line, text }) => {
    const words = [...text.matchAll(/`([^`]+)`/g)].flatMap(([, code]) => code!.split(/[\s:]+/))
    const named = words.filter((word) => SOURCE.test(word) || FOLDER.test(word))
    const linked = [...text.matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map(([, target]) =>
      join(dirname(path), target!),
    )
    const missing = [...named, ...linked].filter((name) => !exists(name))
    return missing.map((name) => ({ line, text: name }))
  })
}
