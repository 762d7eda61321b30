/** Numbers of a stage, such as its norm and its updates, after resharding. */
import { expect, test } from 'vitest'
import { combineFields, momentScales } from '../../../src/checkpoint/fields.ts'
import type { StageFields } from '../../../src/checkpoint/manifest.ts'

const fields = (overrides: Partial<StageFields> = {}): StageFields => ({
  elements: 100,
  updates: 50,
  learningRateScale: 1.1,
  gradientNorm: 0.7,
  ...overrides,
})

test('a stage that equals a saved stage keeps its numbers bit for bit', () => {
  expect(combineFields([{ fields: fields(), elements: 100 }])).toEqual(fields())
})

test('the norm of the whole model does not change when stages are cut and joined', () => {
  const parts = [0.25, 0.75].map((share) =>
    combineFields([{ fields: fields(), elements: 100 * share }]),
  )
  const whole = combineFields(parts.map((part) => ({ fields: part, elements: part.elements })))
  expect(whole.gradientNorm).toBeCloseTo(0.7, 12)
  const two = combineFields([
    { fields: fields({ gradientNorm: 3 }), elements: 100 },
    { fields: fields({ gradientNorm: 4 }), elements: 100 },
  ])
  expect(two.gradientNorm).toBeCloseTo(5, 12)
  const unknown = { fields: fields({ gradientNorm: null }), elements: 1 }
  expect(combineFields([{ fields: fields(), elements: 100 }, unknown]).gradientNorm).toBeNull()
})

test('the learning rate scale is the mean over the weights, and the number of updates is the smallest above zero', () => {
  const mixed = (updates: readonly number[]) =>
    combineFields(updates.map((count) => ({ fields: fields({ updates: count }), elements: 100 })))
  expect(mixed([50, 20]).updates).toBe(20)
  expect(mixed([50, 0]).updates).toBe(1)
  expect(mixed([0, 0]).updates).toBe(0)
  const scaled = combineFields([
    { fields: fields({ learningRateScale: 1 }), elements: 25 },
    { fields: fields({ learningRateScale: 1.1 }), elements: 75 },
  ])
  expect(scaled.learningRateScale).toBeCloseTo(1.075, 12)
})

test('moments have the same values after bias correction', () => {
  const betas = { beta1: 0.9, beta2: 0.999 }
  const scales = momentScales(betas, 50, 20)
  const corrected = (moment: number, beta: number, updates: number) =>
    moment / (1 - beta ** updates)
  expect(corrected(3 * scales.firstMoment, 0.9, 20)).toBeCloseTo(corrected(3, 0.9, 50), 12)
  expect(corrected(3 * scales.secondMoment, 0.999, 20)).toBeCloseTo(corrected(3, 0.999, 50), 9)
  expect(momentScales(betas, 0, 1)).toEqual({ firstMoment: 1, secondMoment: 1 })
})
