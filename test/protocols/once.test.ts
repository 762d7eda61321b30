/** What comes again and again is checked once; what is wrong is refused every time, with its place. */
import { expect, test, vi } from 'vitest'
import { z } from 'zod'
import { once } from '../../protocols/once.ts'

const checked = vi.fn(() => true)
const schema = z.strictObject({ change: once(z.strictObject({ step: z.int().refine(checked) })) })

test('the same object gives the same copy without another check, and so does the copy itself', () => {
  const change = { step: 1 }
  const copy = schema.parse({ change }).change
  expect(copy).toEqual(change)
  expect(copy).not.toBe(change)
  expect(schema.parse({ change }).change).toBe(copy)
  expect(schema.parse({ change: copy }).change).toBe(copy)
  expect(checked).toHaveBeenCalledTimes(1)
  // Another object, though equal.
  expect(schema.parse({ change: { step: 1 } }).change).not.toBe(copy)
})

test.each([
  [{ step: 'one' }, 'change.step'],
  [{ step: 1, more: 2 }, 'change'],
  [null, 'change'],
])('%j is refused, twice', (change, path) => {
  for (const _ of [1, 2]) {
    const issue = schema.safeParse({ change }).error?.issues[0]
    expect(issue?.path.join('.')).toBe(path)
  }
})
