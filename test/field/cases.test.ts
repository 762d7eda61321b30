import { readdirSync } from 'node:fs'
import { expect, test } from 'vitest'
import { CASES } from './cases.ts'

test('no two cases have one name', () => {
  const names = CASES.map(({ name }) => name)
  expect(new Set(names).size).toBe(names.length)
})

test.each(CASES)('$name says its outcome in one sentence that fits a line', ({ outcome }) => {
  expect(outcome).toMatch(/^[A-Z0-9].*\.$/)
  expect(outcome.split(' ').length).toBeLessThanOrEqual(25)
})

test('each file of cases is part of the table', async () => {
  const folder = new URL('./cases/', import.meta.url)
  for (const file of readdirSync(folder)) {
    const { href } = new URL(file, folder)
    const cases = Object.values(await import(href)).flat()
    for (const each of cases) expect(CASES, file).toContain(each)
  }
})
