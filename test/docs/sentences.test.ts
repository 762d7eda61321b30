/** The pages of the documentation have short sentences, and name files that exist. */
import { globSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { expect, test } from 'vitest'
import { longSentences, missingFiles, type Place, WORDS_MAX } from './sentences.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const PAGES = globSync('{*,docs/*}.md', { cwd: ROOT }).sort()

const words = (count: number) => 'word '.repeat(count).trim()

function placesIn(path: string, places: readonly Place[]): string[] {
  return places.map(({ line, text }) => `${path}:${line}: ${text}`)
}

test.each(PAGES)(`%s has no sentence of more than ${WORDS_MAX} words`, (path) => {
  const page = readFileSync(join(ROOT, path), 'utf8')
  expect(placesIn(path, longSentences(page))).toEqual([])
})

test.each(PAGES)('%s names files that exist', (path) => {
  const page = readFileSync(join(ROOT, path), 'utf8')
  expect(placesIn(path, missingFiles(page, path, ROOT))).toEqual([])
})

test('the pages are those of the top folder and of docs/', () => {
  expect(PAGES).toContain('README.md')
  expect(PAGES).toContain('docs/ARCHITECTURE.md')
  expect(PAGES.length).toBeGreaterThan(15)
})

test('a long sentence is found, with the line on which it begins', () => {
  const page = `# Title\n\nShort. ${words(13)}\n${words(12)}. ${words(13)}\n${words(13)}. End.\n`
  expect(longSentences(page)).toEqual([{ line: 4, text: `${words(26)}.` }])
})

test.each([
  ['an item of a list', `- ${words(26)}.`, 1],
  ['an item without a full stop', `Before:\n- ${words(26)}\n- next`, 2],
  ['an item that goes on', `- First.\n  ${words(26)}.`, 2],
  ['a paragraph after a table', `| a |\n|---|\n${words(26)}.`, 3],
  ['a paragraph after a code fence', `\`\`\`sh\ncode\n\`\`\`\n${words(26)}.`, 4],
  ['a cell of a table', `| a | b |\n|---|---|\n| short | ${words(26)}. |`, 3],
  ['a heading', `## ${words(26)}`, 1],
  ['a sentence with a decimal number', `${words(13)} 0.5 ${words(13)}.`, 1],
  ['the text of a link', `[${words(26)}](target.md).`, 1],
])('%s is prose', (_, page, line) => {
  expect(longSentences(page).map((place) => place.line)).toEqual([line])
})

test.each([
  ['25 words', `${words(25)}.`],
  ['a heading before a paragraph', `# ${words(20)}\n${words(20)}`],
  ['a row of cells', `| ${words(20)} | ${words(20)} | \`${words(20)} | ${words(20)}\` |`],
  ['a code fence', `\`\`\`\n${words(26)}\n\`\`\``],
  ['a span of code', `\`${words(26)}\` is one word.`],
  ['a comment', `<!--\n${words(26)}\n-->`],
  ['two items of a list', `- ${words(20)}\n- ${words(20)}`],
  ['a sentence that ends in brackets', `${words(10)} (${words(10)}.) ${words(20)}.`],
  ['punctuation', `${words(25)} - · - =.`],
])('%s is no long sentence', (_, page) => {
  expect(longSentences(page)).toEqual([])
})

test('a name of a file or folder that does not exist is found, with its line', () => {
  const page = [
    'A file: `src/main.ts`, by its end: `sentences.ts`, `docs/sentences.ts`, with a line: `src/main.ts:3`.',
    'In a command: `npx vitest run test/docs/sentences.test.ts`; a folder: `src/base/`.',
    'Missing: `src/nowhere.ts`, `nowhere.ts`, `npx vitest run test/nowhere.test.ts`, `src/nowhere/`.',
    'Links: [there](../README.md), [not there](nowhere.md), [elsewhere](https://example.org/x.md).',
  ].join('\n')
  expect(missingFiles(page, 'docs/PAGE.md', ROOT)).toEqual([
    { line: 3, text: 'src/nowhere.ts' },
    { line: 3, text: 'nowhere.ts' },
    { line: 3, text: 'test/nowhere.test.ts' },
    { line: 3, text: 'src/nowhere/' },
    { line: 4, text: 'docs/nowhere.md' },
  ])
})
