/** Deadlines grow with the bytes that the work moves, and stay what they are for a small model. */
import { expect, test } from 'vitest'
import { BYTES_PER_MS_MIN, TIMEOUTS } from '../../../src/base/limits.ts'
import { deadlineFor } from '../../../src/base/transfer-time.ts'
import * as budgets from '../../../src/run/budgets.ts'
import { tinyRun } from '../../fixtures/swarm.ts'

/** Body stages of about 100 million weights, over links of 5 Mbit/s. */
const large = tinyRun({
  stages: 4,
  microbatches: 8,
  model: {
    ...tinyRun().model,
    vocabSize: 32_000,
    layers: 8,
    hiddenSize: 2048,
    intermediateSize: 5632,
    heads: 16,
    keyValueHeads: 16,
  },
  microbatch: { batch: 4, context: 2048 },
})
const small = tinyRun()

/** Milliseconds that so many bytes take on the slowest link that deadlines allow for. */
const timeOf = (bytes: number) => (bytes * 8) / 5_000

test('a state of a large stage has the time that its bytes take at 5 Mbit/s', () => {
  const weights = 100e6
  expect(BYTES_PER_MS_MIN * 8 * 1000).toBe(5e6)
  expect(budgets.holdMs(large, 1)).toBeGreaterThan(TIMEOUTS.holdMs + timeOf(3 * 4 * weights))
  expect(budgets.drainMs(large)).toBeGreaterThan(TIMEOUTS.drainMs + timeOf(3 * 4 * weights))
  expect(budgets.reduceMs(large, 1)).toBeGreaterThan(TIMEOUTS.reduceMs + timeOf(2 * 4 * weights))
  expect(budgets.gradientsMs(large, 1)).toBeGreaterThan(TIMEOUTS.gradientsMs + timeOf(4 * weights))
  expect(budgets.checkpointReadMs(large)).toBeGreaterThan(4 * timeOf(3 * 4 * weights))
  const activation = 4 * 2048 * 2048 * 4
  expect(budgets.wholeStepMs(large)).toBeGreaterThanOrEqual(
    TIMEOUTS.stepMs + Math.floor(timeOf(2 * 8 * activation)),
  )
})

test('a small stage has little more than the base', () => {
  expect(budgets.holdMs(small, 1)).toBeLessThan(TIMEOUTS.holdMs + 1_000)
  expect(budgets.drainMs(small)).toBeLessThan(TIMEOUTS.drainMs + 1_000)
  expect(budgets.wholeStepMs(small)).toBeLessThan(TIMEOUTS.stepMs + 1_000)
  expect(deadlineFor(1_000, 0)).toBe(1_000)
})
