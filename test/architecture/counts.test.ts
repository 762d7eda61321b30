/** The counts of `npm run count`, on a checkout whose counts are known. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { temporaryFolder } from '../fixtures/folder.ts'
import { countCheckout, describeCounts } from './counts.ts'

const lines = (count: number) => '  // line\n'.repeat(count)

function checkout(files: Readonly<Record<string, string>>): string {
  const root = temporaryFolder()
  for (const folder of ['src', 'stages', 'protocols', 'sim', 'test', 'bench', 'docs']) {
    mkdirSync(join(root, folder))
  }
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), text)
  }
  return root
}

test('what is above a guide is listed, apart from what says why', () => {
  const root = checkout({
    'src/base/a.ts': `export function short() {\n${lines(58)}}\nexport function long() {\n${lines(59)}}\n`,
    'src/run/b.ts': `/** Longer than 60 lines: one table. */\nexport const table = () => {\n${lines(60)}}\n`,
    'sim/c.ts': `export class Big {\n${lines(249)}}\n${lines(200)}`,
    'test/d.test.ts': `describe('x', () => {\n${lines(100)}})\n`,
  })
  const { above, folders, srcEntries } = countCheckout(root)
  expect(above.map(({ kind, name, hasReason }) => [kind, name, hasReason])).toEqual([
    ['file', 'sim/c.ts', false],
    ['class', 'Big', false],
    ['function', 'table', true],
    ['function', 'long', false],
  ])
  expect(folders.find(({ folder }) => folder === 'src')).toMatchObject({ files: 2, lines: 184 })
  expect(srcEntries).toBe(3)
})

test('words of code and pages are counted', () => {
  const root = checkout({
    'src/a.ts':
      '/** Of the step. */\nconst a = 1 // whoever\n/**\n * That is kept.\n */\nclass A {}\nfunction f() {}\n',
    'docs/PAGE.md': `Whoever reads. ${'word '.repeat(26)}.\n`,
    'README.md': 'Short.\n',
  })
  const counts = countCheckout(root)
  expect(counts).toMatchObject({ whoever: 2, fragments: 2 })
  expect(counts.pages).toEqual([
    { path: 'docs/PAGE.md', longSentences: 1 },
    { path: 'README.md', longSentences: 0 },
  ])
  expect(describeCounts(counts).join('\n')).toContain('"whoever"                          2')
})
