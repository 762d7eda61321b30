import { expect, test } from 'vitest'
import { judgeBound, judgeFlat } from './flat.ts'

const RULE = { from: 1, slack: 5 }

function series(valueAt: (hours: number) => number, hours = 30) {
  return Array.from({ length: hours }, (_, i) => ({ hours: i, value: valueAt(i) }))
}

test('a level with noise and single peaks is flat', () => {
  const verdict = judgeFlat(
    series((hours) => 100 + (hours % 3) + (hours % 10 === 9 ? 500 : 0)),
    RULE,
  )
  expect(verdict.isFlat).toBe(true)
})

test('a rise before the samples count is no growth', () => {
  expect(
    judgeFlat(
      series((hours) => (hours < 1 ? 0 : 100)),
      RULE,
    ).isFlat,
  ).toBe(true)
})

test('one more in each hour grows', () => {
  expect(
    judgeFlat(
      series((hours) => 100 + hours),
      RULE,
    ),
  ).toMatchObject({ isFlat: false })
})

test('a rise within the slack is no growth', () => {
  expect(
    judgeFlat(
      series((hours) => 10 + hours / 10),
      RULE,
    ).isFlat,
  ).toBe(true)
})

test('too few samples have no verdict', () => {
  expect(() =>
    judgeFlat(
      series(() => 1, 3),
      RULE,
    ),
  ).toThrow('only 2 samples count')
})

test('a series with a bound may rise, and must not pass the bound', () => {
  const rising = series((hours) => 100 * hours)
  expect(judgeBound(rising, RULE, 2_900)).toMatchObject({ isFlat: true })
  expect(judgeBound(rising, RULE, 2_899)).toMatchObject({ isFlat: false })
})
