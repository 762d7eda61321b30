/** Encoding and decoding of copies: exact in float32, within the bound of each other number format. */
import { expect, test } from 'vitest'
import type { Dtype } from '../../../protocols/codec.ts'
import {
  type CopyForm,
  copyBytes,
  decodeState,
  encodeState,
  joinCopy,
  splitCopy,
} from '../../../src/recovery/copy-form.ts'
import { Random } from '../../../stages/random.ts'

/** Number of weights: more than one piece, and not a multiple of the block size. */
const LENGTH = 70_001

function stateOf(seed: string, secondMoment = LENGTH) {
  const random = new Random(seed)
  const weights = Float32Array.from({ length: LENGTH }, () => random.float() - 0.5)
  const first = weights.map((x) => x * 1e-4)
  // Second moments can be this small. In float16 they would be zero.
  const second = weights.slice(0, secondMoment).map((x) => x * x * 1e-12)
  return [weights, first, second] as const
}

/** Encodes and decodes the parts. */
function roundTrip(parts: ReturnType<typeof stateOf>, form: CopyForm) {
  const pieces = encodeState(parts, form)
  let last = pieces.next()
  while (!last.done) last = pieces.next()
  const lengths = parts.map(({ length }) => length)
  expect(last.value.length).toBe(copyBytes(lengths, form))
  return { bytes: last.value, lengths, back: decodeState(last.value, lengths, form) }
}

test('a copy in float32 is exact, with and without second moments', () => {
  for (const secondMoment of [LENGTH, 0]) {
    const parts = stateOf('a', secondMoment)
    const { back } = roundTrip(parts, { weights: 'float32', moments: 'float32' })
    expect(back).toEqual(parts.map((part) => new Float32Array(part)))
  }
})

test.each<[Dtype, number, number]>([
  ['float16', 2 ** -11, 2 ** -25],
  ['bfloat16', 2 ** -8, 0],
  // Half a quantization step of the block's largest element, which is at most 0.5 here.
  ['int8', 0, 0.5 / 254 + 1e-9],
])('a copy in %s is within the bound of its number format', (dtype, relative, absolute) => {
  const parts = stateOf('b')
  const { back } = roundTrip(parts, { weights: dtype, moments: null })
  expect(back[1].length + back[2].length).toBe(0)
  for (const [i, x] of parts[0].entries()) {
    expect(Math.abs(back[0][i]! - x)).toBeLessThanOrEqual(relative * Math.abs(x) + absolute)
  }
})

test('second moments of 1e-12 survive bfloat16, which has the range of float32', () => {
  const parts = stateOf('c')
  const { back } = roundTrip(parts, { weights: 'int8', moments: 'bfloat16' })
  for (const [i, x] of parts[2].entries()) {
    expect(Math.abs(back[2][i]! - x)).toBeLessThanOrEqual(2 ** -8 * x)
  }
})

test('int8 weights with bfloat16 moments take 5.06 bytes a weight', () => {
  expect(copyBytes([LENGTH, LENGTH, LENGTH], { weights: 'int8', moments: 'bfloat16' })).toBe(
    LENGTH + 4 * Math.ceil(LENGTH / 64) + 4 * LENGTH,
  )
})

test.each([1, 2, 3, 7])(
  'a copy that is split into %i pieces of equal length is joined again without a change',
  (pieces) => {
    const { bytes } = roundTrip(stateOf('d'), { weights: 'int8', moments: null })
    const split = splitCopy(bytes, pieces)
    expect(new Set(split.map(({ length }) => length)).size).toBe(1)
    expect(joinCopy(split, bytes.length)).toEqual(bytes)
  },
)

test.each([Number.NaN, Number.POSITIVE_INFINITY])(
  'a state that holds %s is not copied: no stage is rebuilt from it',
  (value) => {
    const weights = new Float32Array(200_000).fill(1)
    weights[150_000] = value
    const pieces = encodeState([weights, new Float32Array(0), new Float32Array(0)], {
      weights: 'int8',
      moments: null,
    })
    // The first piece is finite.
    expect(pieces.next().done).toBe(false)
    expect(() => [...pieces]).toThrow('not finite')
  },
)
