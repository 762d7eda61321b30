/** A member or the data is at fault when a microbatch cannot be computed. */
import { expect, test } from 'vitest'
import { type Index, SUM, WorkFaults } from '../../../src/coordinator/work-faults.ts'

const MICROBATCHES = 4

function createFaults() {
  const faults = new WorkFaults({ now: () => 0, sleep: async () => {} })
  /** One attempt in which a peer fails on some microbatches. @returns the verdicts */
  const attempt = (
    producer: string,
    holders: readonly string[],
    indices: readonly Index[],
    microbatches = MICROBATCHES,
  ) => {
    const failed = indices.map((index) => ({ step: 1, index, producer, reason: 'as a test' }))
    faults.note(failed)
    return failed.map((fault) => faults.judge(fault, holders, microbatches))
  }
  return { faults, attempt }
}

test('another holder is asked first, and if it fails as well the data is at fault', () => {
  const { faults, attempt } = createFaults()
  expect(attempt('a', ['a', 'b'], [2])).toEqual(['elsewhere'])
  expect(faults.isAvoided(1, 2, 'a')).toBe(true)
  expect(faults.isAvoided(1, 2, 'b')).toBe(false)
  expect(faults.isAvoided(1, 3, 'a')).toBe(false)
  expect(faults.isAvoided(2, 2, 'a')).toBe(false)
  expect(attempt('b', ['a', 'b'], [2])).toEqual(['data'])
  expect(faults.producersOf([2])).toEqual(['a', 'b'])
})

test('if the other holder does not fail, the first one is at fault', () => {
  const { faults, attempt } = createFaults()
  attempt('a', ['a', 'b'], [2])
  expect([...faults.stepMade()]).toEqual([['a', 'as a test']])
  expect([...faults.stepMade()]).toEqual([])
})

test('a holder that is alone is asked twice, and is at fault if it fails on several microbatches', () => {
  const { attempt } = createFaults()
  expect(attempt('a', ['a'], [0, 1, 2])).toEqual(['again', 'again', 'again'])
  expect(attempt('a', ['a'], [0])).toEqual(['producer'])
})

test('the data is at fault if the only holder fails on one microbatch only', () => {
  const { attempt } = createFaults()
  expect(attempt('a', ['a'], [3])).toEqual(['again'])
  expect(attempt('a', ['a'], [3])).toEqual(['data'])
})

test('a holder that replaced one which failed on the only microbatch acquits it by failing, too', () => {
  const { faults, attempt } = createFaults()
  attempt('a', ['a'], [0], 1)
  expect(attempt('a', ['a'], [0], 1)).toEqual(['producer'])
  faults.strike('a', 'as a test')
  expect(attempt('b', ['b'], [0], 1)).toEqual(['data'])
  faults.acquit([0])
  expect(faults.strikesOf('a')).toBe(0)
})

test('sums that are not finite cost a replica its stage at once, and the only holder the second time', () => {
  const { attempt } = createFaults()
  expect(attempt('a', ['a', 'b'], [SUM])).toEqual(['producer'])
  expect(attempt('b', ['b'], [SUM])).toEqual(['data'])
  const other = createFaults()
  expect(other.attempt('a', ['a'], [SUM])).toEqual(['again'])
  expect(other.attempt('a', ['a'], [SUM])).toEqual(['producer'])
})
