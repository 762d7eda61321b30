/**
 * Encodings of float32 tensors, one row each. The number of elements determines the length of a body, so that the receiver
 * knows the length before the first byte. A value that an encoding cannot hold (NaN, infinity, overflow) decodes to a value
 * that is not finite. The receiver refuses such a tensor.
 */
import { FLOAT_OF_HALF, halfOf } from '../stages/float16.ts'
import { bytesOf } from './weights.ts'

export const WIRE_DTYPES = ['float32', 'float16', 'int8'] as const
export type WireDtype = (typeof WIRE_DTYPES)[number]

/** All encodings. bfloat16 is for copies alone: it has float32's range, which an optimizer's second moments need. */
export const DTYPES = [...WIRE_DTYPES, 'bfloat16'] as const
export type Dtype = (typeof DTYPES)[number]

interface Codec {
  /** Number of bytes of a body with this number of elements. */
  bytes(elements: number): number
  /** The result may share memory with `tensor`. */
  encode(tensor: Float32Array): Uint8Array
  /** The result may share memory with `body`. */
  decode(body: Uint8Array, elements: number): Float32Array
}

/** Elements that share a scale. An outlier reduces the precision of its own block alone. */
const BLOCK = 64
const SCALE_BYTES = Float32Array.BYTES_PER_ELEMENT
const LEVELS = 127
/** Slightly below the largest float32 divided by 127. That quotient, rounded up and multiplied by 127, would be infinite. */
const SCALE_MAX = 2.6793e36

const codecs: Readonly<Record<Dtype, Codec>> = {
  float32: {
    bytes: (elements) => 4 * elements,
    encode: bytesOf,
    decode: (body, elements) => new Float32Array(body.buffer, body.byteOffset, elements),
  },

  /** IEEE half precision, rounded to nearest even: relative error 2^-11 from 6.1e-5 to 65,504. */
  float16: {
    bytes: (elements) => 2 * elements,
    encode(tensor) {
      const halves = new Uint16Array(tensor.length)
      const bits = new Uint32Array(tensor.buffer, tensor.byteOffset, tensor.length)
      for (let i = 0; i < bits.length; i++) halves[i] = halfOf(bits[i]!)
      return new Uint8Array(halves.buffer)
    },
    decode(body, elements) {
      const halves = new Uint16Array(body.buffer, body.byteOffset, elements)
      const tensor = new Float32Array(elements)
      const bits = new Uint32Array(tensor.buffer)
      for (let i = 0; i < elements; i++) bits[i] = FLOAT_OF_HALF[halves[i]!]!
      return tensor
    },
  },

  /** The upper half of a float32, rounded to nearest even: relative error 2^-9 over the whole range. */
  bfloat16: {
    bytes: (elements) => 2 * elements,
    encode(tensor) {
      const halves = new Uint16Array(tensor.length)
      const bits = new Uint32Array(tensor.buffer, tensor.byteOffset, tensor.length)
      for (let i = 0; i < bits.length; i++) {
        const value = bits[i]!
        // Keeps a NaN whose low bits would round the value to infinity.
        const nan = (value & 0x7fffffff) > 0x7f800000
        halves[i] = nan ? (value >>> 16) | 0x40 : (value + 0x7fff + ((value >>> 16) & 1)) >>> 16
      }
      return new Uint8Array(halves.buffer)
    },
    decode(body, elements) {
      const halves = new Uint16Array(body.buffer, body.byteOffset, elements)
      const tensor = new Float32Array(elements)
      const bits = new Uint32Array(tensor.buffer)
      for (let i = 0; i < elements; i++) bits[i] = halves[i]! << 16
      return tensor
    },
  },

  /** A float32 scale for each block of 64, then the levels. The error is at most 1/254 of the block's largest magnitude. */
  int8: {
    bytes: (elements) => elements + SCALE_BYTES * Math.ceil(elements / BLOCK),
    encode(tensor) {
      const blocks = Math.ceil(tensor.length / BLOCK)
      const body = new Uint8Array(blocks * SCALE_BYTES + tensor.length)
      const scales = new Float32Array(body.buffer, 0, blocks)
      const levels = new Int8Array(body.buffer, blocks * SCALE_BYTES)
      for (let block = 0; block < blocks; block++) {
        const [from, to] = [block * BLOCK, Math.min(tensor.length, (block + 1) * BLOCK)]
        let largest = 0
        // A NaN stays, since no comparison with it is true.
        for (let i = from; i < to; i++) {
          const size = Math.abs(tensor[i]!)
          if (size > largest || Number.isNaN(size)) largest = size
        }
        scales[block] = Number.isFinite(largest) ? Math.min(largest / LEVELS, SCALE_MAX) : largest
        const inverse = largest > 0 ? LEVELS / largest : 0
        for (let i = from; i < to; i++) levels[i] = Math.round(tensor[i]! * inverse)
      }
      return body
    },
    decode(body, elements) {
      const blocks = Math.ceil(elements / BLOCK)
      const scales = new Float32Array(body.buffer, body.byteOffset, blocks)
      const levels = new Int8Array(body.buffer, body.byteOffset + blocks * SCALE_BYTES, elements)
      const tensor = new Float32Array(elements)
      for (let i = 0; i < elements; i++) tensor[i] = levels[i]! * scales[Math.floor(i / BLOCK)]!
      return tensor
    },
  },
}

export function wireBytes(dtype: Dtype, elements: number): number {
  return codecs[dtype].bytes(elements)
}

export function encodeTensor(dtype: Dtype, tensor: Float32Array): Uint8Array {
  return codecs[dtype].encode(tensor)
}

/** Memory for a body, aligned so that `decodeTensor` can use it without a copy. */
export function wireBuffer(dtype: Dtype, elements: number): Uint8Array {
  const bytes = wireBytes(dtype, elements)
  return dtype === 'float32' ? bytesOf(new Float32Array(elements)) : new Uint8Array(bytes)
}

export function decodeTensor(dtype: Dtype, body: Uint8Array, elements: number): Float32Array {
  return codecs[dtype].decode(body, elements)
}
