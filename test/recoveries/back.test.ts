import { expect, test } from 'vitest'
import { stepsUntilBack } from './back.ts'

const STEPS = 30
const LOST_AFTER = 10
const curve = (loss: (step: number) => number) =>
  Array.from({ length: STEPS }, (_, i) => ({ step: i + 1, loss: loss(i + 1) }))
const calm = { losses: curve(() => 2) }
const back = (loss: (step: number) => number, stepsGivenUp = 0) =>
  stepsUntilBack({ losses: curve(loss), stepsGivenUp }, calm, LOST_AFTER, 0.02)

test('a run without a rise of the loss is back after the first window of five steps', () => {
  expect(back(() => 2)).toBe(5)
})

test('repeated steps count', () => {
  expect(back(() => 2, 7)).toBe(12)
})

test('the mean of five steps must be within the share, not a single step', () => {
  // 2.09 until step 14, then 2: the window of steps 13..17 is the first with only two of five at 2.09, 1.8 % above.
  expect(back((step) => (step > LOST_AFTER && step <= 14 ? 2.09 : 2))).toBe(7)
})

test('a run that leaves the share again is back only afterwards', () => {
  expect(back((step) => (step === 25 ? 2.5 : 2))).toBe(20)
})

test('a run that is not within the share at its end gives null', () => {
  expect(back((step) => (step > LOST_AFTER ? 2.1 : 2))).toBeNull()
})
