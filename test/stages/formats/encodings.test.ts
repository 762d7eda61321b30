/** Each encoding against its definition. */
import { expect, test } from 'vitest'
import { ENCODINGS } from '../../../stages/formats/encodings.ts'
import { Random } from '../../../stages/random.ts'

function floats(values: readonly number[]): Float32Array<ArrayBuffer> {
  return Float32Array.from(values)
}

function words(bytes: Uint8Array): Uint16Array {
  return new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2)
}

/** By the definition of IEEE's half: sign, exponent less 15, fraction of 10 bits. */
function halfValue(bits: number): number {
  const [sign, exponent, fraction] = [bits >> 15, (bits >> 10) & 31, bits & 1023]
  const size = exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15)
  return sign ? -size : size
}

/** A float32 whose lower half is zero. */
function brainValue(bits: number): number {
  return new Float32Array(Uint32Array.of(bits << 16).buffer)[0]!
}

const random = new Random('encodings')
const SAMPLES = Array.from(
  { length: 500 },
  () => random.gaussian() * 10 ** (random.float() * 6 - 4),
)

test.each([
  ['float16', halfValue],
  ['bfloat16', brainValue],
] as const)('%s takes the nearest of its numbers', (dtype, decode) => {
  const values = floats([0, -0, 1, -2.5, ...SAMPLES])
  const bits = words(ENCODINGS[dtype].encode(values))
  for (const [i, value] of values.entries()) {
    const error = Math.abs(decode(bits[i]!) - value)
    for (const neighbour of [bits[i]! - 1, bits[i]! + 1]) {
      if ((neighbour ^ bits[i]!) & 0x8000) continue
      expect(error).toBeLessThanOrEqual(Math.abs(decode(neighbour & 0xffff) - value))
    }
  }
})

test('bfloat16 keeps NaN and infinities', () => {
  const values = floats([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 3.4e38])
  const bits = words(ENCODINGS.bfloat16.encode(values))
  const back = Array.from(bits, brainValue)
  expect(back.slice(0, 3)).toEqual([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])
  // Rounds up to infinity: the nearest number would be the one after the largest.
  expect(back[3]).toBe(Number.POSITIVE_INFINITY)
})

test('q8_0 is a half and 32 levels a block, half a level from each element at most', () => {
  const values = floats(SAMPLES.slice(0, 320))
  const bytes = ENCODINGS.q8_0.encode(values)
  expect(bytes.length).toBe(340)
  const view = new DataView(bytes.buffer)
  for (let block = 0; block < 10; block++) {
    const scale = halfValue(view.getUint16(block * 34, true))
    const own = values.subarray(block * 32, (block + 1) * 32)
    const largest = Math.max(...own.map(Math.abs))
    // The scale is rounded to a half, which moves the largest levels by up to 127 / 2048 of a level.
    const bound = (largest / 127) * (0.5 + 127 / 2048 + 1e-3)
    for (const [i, element] of own.entries()) {
      const level = view.getInt8(block * 34 + 2 + i)
      expect(Math.abs(level)).toBeLessThanOrEqual(127)
      expect(Math.abs(level * scale - element)).toBeLessThanOrEqual(bound)
    }
  }
})

test('q8_0 of zeros is zeros', () => {
  expect(ENCODINGS.q8_0.encode(new Float32Array(32)).every((byte) => byte === 0)).toBe(true)
})
