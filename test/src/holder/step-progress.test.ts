/** What is known of a step while it is current, and what waits for it once it has ended. */
import { expect, test } from 'vitest'
import type { MicrobatchHeader } from '../../../protocols/microbatch.ts'
import { StepProgress } from '../../../src/holder/step-progress.ts'

const fence = { run: 'r', epoch: 3, step: 7 }

function header(attempt: number): MicrobatchHeader {
  const route = [{ stage: 1, id: 11 }]
  const common = { purpose: 'train', direction: 'forward', dtype: 'float32' } as const
  return {
    ...fence,
    ...common,
    index: 0,
    attempt,
    driver: 10,
    route,
    position: 0,
    shape: [1, 1, 1],
  }
}

test('what waits for microbatches resolves when all are counted, in whatever order', async () => {
  const step = new StepProgress(fence)
  step.beginPlan(0)
  const counted = step.untilCounted([0, 1], 0)
  for (const index of [1, 0]) {
    step.count(index)
    step.trained(index, 500, index)
  }
  await counted
  expect(step.counted).toEqual([0, 1])
  expect(step.busySeconds).toBe(1)
  expect(step.lossesOf([{ index: 1 }])).toEqual([{ index: 1, loss: 1 }])
})

test('a later version of the plan fails what waits for the earlier one; an earlier one is refused', async () => {
  const step = new StepProgress(fence)
  step.beginPlan(1)
  const failed = expect(step.untilCounted([0], 1)).rejects.toMatchObject({ code: 'STALE' })
  step.beginPlan(2)
  await failed
  expect(() => step.beginPlan(1)).toThrow(expect.objectContaining({ code: 'STALE' }))
  expect(() => step.expectInProgress(1)).toThrow(expect.objectContaining({ code: 'STALE' }))
  step.expectInProgress(2)
})

test('a step that has ended is not current, and fails what waits for it now or later', async () => {
  const step = new StepProgress(fence)
  step.beginPlan(0)
  const failed = expect(step.untilCounted([0], 0)).rejects.toThrow('given up')
  step.end('STALE', 'step 7 was given up')
  await failed
  expect(step.isCurrent).toBe(false)
  await expect(step.untilEvaluated([0])).rejects.toThrow('given up')
  expect(() => step.expectInProgress(0)).toThrow(expect.objectContaining({ code: 'STALE' }))
})

test('once a higher attempt is known, a lower one is not the latest', () => {
  const step = new StepProgress(fence)
  expect(step.isNewAttempt(header(0))).toBe(true)
  expect(step.noteAttempt(header(0))).toBe(true)
  expect(step.noteAttempt(header(0))).toBe(true)
  expect(step.isNewAttempt(header(0))).toBe(false)
  expect(step.noteAttempt(header(1))).toBe(true)
  expect(step.noteAttempt(header(0))).toBe(false)
  expect(step.isLatest(header(0))).toBe(false)
})
