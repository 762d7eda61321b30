/** The file format: round trips, and errors that name the damage. */
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type NamedTensor,
  readSafetensors,
  SafetensorsError,
  writeSafetensors,
} from '../../stages/safetensors.ts'

/** A file with this header and `bodyLength` bytes after it. */
function file(header: unknown, bodyLength = 0): Uint8Array {
  const text = typeof header === 'string' ? header : JSON.stringify(header)
  const bytes = new Uint8Array(8 + text.length + bodyLength)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true)
  bytes.set(new TextEncoder().encode(text), 8)
  return bytes
}

describe('round trip', () => {
  it('of every dtype, in any order', () => {
    const tensors = new Map<string, NamedTensor>([
      ['half', { dtype: 'F16', shape: [3], data: Uint16Array.of(1, 2, 65535) }],
      ['empty', { dtype: 'F32', shape: [0, 4], data: new Float32Array(0) }],
      ['scalar', { dtype: 'F64', shape: [], data: Float64Array.of(Math.PI) }],
      ['matrix', { dtype: 'F32', shape: [2, 2], data: Float32Array.of(1, -2, Number.NaN, 4) }],
      ['wide', { dtype: 'I64', shape: [2], data: BigInt64Array.of(-1n, 2n ** 62n) }],
      ['narrow', { dtype: 'I32', shape: [1, 1], data: Int32Array.of(-7) }],
    ])
    const metadata = { format: 'pt', note: 'Zürich ❄' }
    const bytes = writeSafetensors({ tensors, metadata })
    const read = readSafetensors(bytes)
    expect(read.metadata).toEqual(metadata)
    expect(new Map([...read.tensors].sort())).toEqual(new Map([...tensors].sort()))
    // Aligned, so these are views.
    for (const { data } of read.tensors.values()) expect(data.buffer).toBe(bytes.buffer)
  })

  it('of a file of PyTorch, at any place in memory', () => {
    const golden = readFileSync(new URL('../golden/llama-mha.safetensors', import.meta.url))
    const shifted = new Uint8Array(golden.length + 1).subarray(1)
    shifted.set(golden)
    const read = readSafetensors(golden)
    expect(readSafetensors(shifted)).toEqual(read)
    expect(readSafetensors(writeSafetensors(read))).toEqual({
      ...read,
      tensors: new Map([...read.tensors]),
    })
  })
})

const f32 = (begin: number, end: number, shape: unknown = [(end - begin) / 4]) => ({
  dtype: 'F32',
  shape,
  data_offsets: [begin, end],
})

it.each([
  ['no bytes', new Uint8Array(0), 'only 0 bytes'],
  ['a length beyond the file', Uint8Array.of(9, 0, 0, 0, 0, 0, 0, 0), 'a header of 9 bytes'],
  ['an absurd length', new Uint8Array(16).fill(255), 'a header of 18446744073709551615 bytes'],
  ['no JSON', file('{"a":'), 'the header is not JSON'],
  ['no UTF-8', Uint8Array.of(2, 0, 0, 0, 0, 0, 0, 0, 255, 254), 'the header is not JSON'],
  ['a list', file([]), 'the header is not a JSON object'],
  ['odd metadata', file({ __metadata__: { a: 1 } }), '__metadata__ is not a map of strings'],
  ['an entry of nothing', file({ a: null }), 'tensor a: its entry is not an object'],
  ['an unknown dtype', file({ a: { ...f32(0, 4), dtype: 'F8' } }, 4), 'tensor a: dtype F8'],
  ['an inherited dtype', file({ a: { ...f32(0, 4), dtype: 'toString' } }, 4), 'tensor a: dtype'],
  ['a negative size', file({ a: f32(0, 4, [-1]) }, 4), 'tensor a: shape [-1]'],
  ['a fractional size', file({ a: f32(0, 4, [0.5]) }, 4), 'tensor a: shape [0.5]'],
  ['no shape', file({ a: { ...f32(0, 4), shape: 1 } }, 4), 'tensor a: shape 1'],
  ['one offset', file({ a: { ...f32(0, 4), data_offsets: [0] } }, 4), 'tensor a: data_offsets [0]'],
  ['offsets the wrong way', file({ a: f32(4, 0, [1]) }, 4), 'tensor a: -4 bytes for F32 [1]'],
  ['a size that does not fit', file({ a: f32(0, 8, [3]) }, 8), 'tensor a: 8 bytes for F32 [3]'],
  ['an end beyond the file', file({ a: f32(0, 8) }, 4), 'tensor a: ends at byte 8 of 4'],
  ['overlap', file({ a: f32(0, 8), b: f32(4, 12) }, 12), 'tensor b: starts at byte 4, expected 8'],
  ['a hole', file({ a: f32(0, 4), b: f32(8, 12) }, 12), 'tensor b: starts at byte 8, expected 4'],
  ['a rest', file({ a: f32(0, 4) }, 5), '1 bytes after the last tensor'],
])('refuses %s', (_, bytes, message) => {
  expect(() => readSafetensors(bytes)).toThrow(SafetensorsError)
  expect(() => readSafetensors(bytes)).toThrow(message)
})

it('reads a damaged file, or throws a SafetensorsError', () => {
  const tensors = new Map<string, NamedTensor>([
    ['a', { dtype: 'F32', shape: [2], data: Float32Array.of(1, 2) }],
    ['b', { dtype: 'I32', shape: [1], data: Int32Array.of(3) }],
  ])
  const intact = writeSafetensors({ tensors, metadata: { format: 'pt' } })
  const damage = fc.record({
    at: fc.nat(intact.length - 1),
    byte: fc.nat(255),
    length: fc.nat(intact.length),
  })
  fc.assert(
    fc.property(damage, ({ at, byte, length }) => {
      for (const broken of [intact.with(at, byte), intact.slice(0, length)]) {
        try {
          readSafetensors(broken)
        } catch (error) {
          expect(error).toBeInstanceOf(SafetensorsError)
        }
      }
    }),
    { numRuns: 500, seed: 1 },
  )
})
