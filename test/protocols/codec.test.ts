/** Encodings of tensors on the wire, against their error bounds and another implementation. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  decodeTensor,
  encodeTensor,
  WIRE_DTYPES,
  type WireDtype,
  wireBuffer,
  wireBytes,
} from '../../protocols/codec.ts'
import { Random } from '../../stages/random.ts'

function roundTrip(dtype: WireDtype, tensor: Float32Array): Float32Array {
  const sent = encodeTensor(dtype, tensor)
  const body = wireBuffer(dtype, tensor.length)
  expect(sent.byteLength).toBe(wireBytes(dtype, tensor.length))
  body.set(sent)
  return decodeTensor(dtype, body, tensor.length)
}

/** Node's conversion through DataView, in versions that have one. */
const half = new DataView(new ArrayBuffer(2)) as DataView & {
  setFloat16?(offset: number, value: number): void
  getFloat16?(offset: number): number
}

const finite = fc.float({ noNaN: true, noDefaultInfinity: true })

describe('float16', () => {
  test('rounds as IEEE 754: the same as the engine, for random bits and around every boundary', () => {
    if (!half.setFloat16 || !half.getFloat16) throw new Error('the tests need Node 24')
    const random = new Random('half')
    const bits = Uint32Array.from({ length: 200_000 }, () => random.uint32())
    // The midpoints between adjacent halves, and the floats next to the midpoints.
    const midpoints = Float32Array.from({ length: 0x7c00 }, (_, i) => {
      half.setUint16(0, i)
      const low = half.getFloat16!(0)
      half.setUint16(0, i + 1)
      return (low + Math.min(half.getFloat16!(0), 65536)) / 2
    })
    const near = [...new Uint32Array(midpoints.buffer)].flatMap((b) => [b - 1, b, b + 1])
    for (const values of [bits, Uint32Array.from(near)]) {
      const tensor = new Float32Array(values.buffer)
      const halves = new Uint16Array(encodeTensor('float16', tensor).buffer)
      let wrong = 0
      for (let i = 0; i < tensor.length; i++) {
        if (Number.isNaN(tensor[i]!)) {
          if ((halves[i]! & 0x7fff) <= 0x7c00) wrong++
          continue
        }
        half.setFloat16(0, tensor[i]!)
        if (half.getUint16(0) !== halves[i]) wrong++
      }
      expect(wrong).toBe(0)
    }
  })

  test('every half decodes and encodes to itself', () => {
    const halves = Uint16Array.from({ length: 1 << 16 }, (_, i) => i)
    const tensor = decodeTensor('float16', new Uint8Array(halves.buffer), halves.length)
    const again = new Uint16Array(encodeTensor('float16', tensor).buffer)
    const differing = [...halves].filter((h, i) => again[i] !== h && !Number.isNaN(tensor[i]!))
    expect(differing).toEqual([])
  })
})

test('float32 is exact', () => {
  fc.assert(
    fc.property(fc.float32Array(), (tensor) => {
      expect([...roundTrip('float32', tensor)]).toEqual([...tensor])
    }),
  )
})

test('int8 has an error of at most 1/254 of the largest in its block of 64', () => {
  fc.assert(
    fc.property(fc.array(finite, { maxLength: 300 }), (values) => {
      const tensor = Float32Array.from(values)
      const back = roundTrip('int8', tensor)
      for (let from = 0; from < tensor.length; from += 64) {
        const block = tensor.subarray(from, from + 64)
        const largest = block.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
        for (let i = 0; i < block.length; i++) {
          // Scales are float32. The bound contains their rounding, and their spacing if they are subnormal.
          const bound = largest / 254 + largest * 1e-5 + 127 * 2 ** -149
          expect(Math.abs(back[from + i]! - block[i]!)).toBeLessThanOrEqual(bound)
        }
      }
    }),
  )
})

test('int8 can encode the largest float32', () => {
  const [back] = roundTrip('int8', Float32Array.of(3.4028234663852886e38))
  expect(back! / 3.4028234663852886e38).toBeCloseTo(1, 4)
})

test.each(WIRE_DTYPES)('%s takes what is not finite to something that is not', (dtype) => {
  for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
    const back = roundTrip(dtype, Float32Array.of(1, value, 2))
    expect(back.every(Number.isFinite)).toBe(false)
  }
})
