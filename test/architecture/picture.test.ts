/** The picture of docs/ARCHITECTURE.md is the one that the imports give, and the linter keeps the imports one way. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { temporaryFolder } from '../fixtures/folder.ts'
import { refusedImports } from './lint-rules.ts'
import { drawPicture, layersOf, readRooms, readTopFolders, withPicture } from './picture.ts'
import { ROOT, readSource } from './sources.ts'

const PAGE = 'docs/ARCHITECTURE.md'

/** Entries of `src/`, with `src/` itself. */
const SRC_ENTRIES_MAX = 15

test('the picture of docs/ARCHITECTURE.md is up to date', () => {
  const page = readSource(ROOT, PAGE)
  const fresh = withPicture(page, drawPicture(readRooms(ROOT)))
  expect(page === fresh, `The imports have changed. Renew ${PAGE} by: npm run docs:picture`).toBe(
    true,
  )
})

test('each room of src has a row in the table of rooms', () => {
  const rows = [...readSource(ROOT, PAGE).matchAll(/^\| `src\/([a-z-]+)\/?` \|/gm)]
  expect(rows.map(([, room]) => room).sort()).toEqual([...readRooms(ROOT).keys()].sort())
})

test('src has few entries', () => {
  expect(readdirSync(join(ROOT, 'src')).length + 1).toBeLessThanOrEqual(SRC_ENTRIES_MAX)
})

test('of any two rooms the linter lets one import the other, and refuses the contrary', () => {
  const rooms = readRooms(ROOT)
  const folders = [...rooms.keys()].map((room) => `src/${room}`)
  const refused = refusedImports(temporaryFolder(), folders)
  for (const [i, one] of folders.entries()) {
    for (const other of folders.slice(i + 1)) {
      const ways = [`${one} -> ${other}`, `${other} -> ${one}`]
      expect(
        ways.filter((way) => refused.has(way)),
        `refused of ${ways.join(' and ')}`,
      ).toHaveLength(1)
    }
  }
  const imports = [...rooms].flatMap(([from, targets]) =>
    [...targets].map((to) => `src/${from} -> src/${to}`),
  )
  expect(imports.filter((one) => refused.has(one))).toEqual([])
})

test('the linter refuses what points from stages to protocols, to src, to sim', () => {
  const rooms = [...readRooms(ROOT).keys()]
  const down = ['sim', ...rooms.map((room) => `src/${room}`), 'protocols', 'stages']
  const refused = refusedImports(temporaryFolder(), down)
  const level = (folder: string) => ['stages', 'protocols', 'src', 'sim'].indexOf(topOf(folder))
  for (const from of down) {
    for (const to of down) {
      const way = `${from} -> ${to}`
      if (topOf(from) !== topOf(to))
        expect([way, refused.has(way)]).toEqual([way, level(to) > level(from)])
    }
  }
})

test('the top-level folders import one way, but for the commands that load the simulator', () => {
  const folders = readTopFolders(ROOT)
  expect([...folders.get('stages')!]).toEqual([])
  expect([...folders.get('protocols')!]).toEqual(['stages'])
  expect([...folders.get('src')!].sort()).toEqual(['protocols', 'sim', 'stages'])
  expect([...folders.get('sim')!].sort()).toEqual(['protocols', 'src', 'stages'])
})

test('rooms that import each other are refused by name', () => {
  const circle = new Map([
    ['base', new Set<string>()],
    ['data', new Set(['base', 'node'])],
    ['node', new Set(['data'])],
  ])
  expect(() => layersOf(circle)).toThrow('in a circle: data, node')
  circle.get('data')!.delete('node')
  expect(layersOf(circle)).toEqual([['base'], ['data'], ['node']])
})

test('an import that another import implies is left to the list', () => {
  const rooms = new Map([
    ['base', new Set<string>()],
    ['data', new Set(['base'])],
    ['node', new Set(['data', 'base'])],
  ])
  const picture = drawPicture(rooms)
  expect(picture).toContain('node --> data')
  expect(picture).not.toContain('node --> base')
  expect(picture).toContain('node         -> data, base')
})

function topOf(folder: string): string {
  return folder.split('/')[0]!
}
