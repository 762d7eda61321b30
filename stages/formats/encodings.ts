/** Encodings of exported weights: float32, float16, bfloat16, and eight bits in blocks. */
import { halfOf } from '../float16.ts'
import type { TensorDtype } from '../safetensors.ts'
import { sizeOf } from '../shape.ts'
import type { ModelTensor, TensorPiece } from './piece.ts'

export interface Encoding {
  /** Name in safetensors; undefined for an encoding that safetensors lacks. */
  readonly safetensors?: TensorDtype
  /** ggml_type, and the llama_ftype of a file with mostly this type. */
  readonly gguf: { readonly type: number; readonly file: number }
  /** Elements of a row that are encoded together, and their bytes. */
  readonly block: number
  readonly blockBytes: number
  encode(elements: Float32Array<ArrayBuffer>): Uint8Array
}

export const DTYPES = ['float32', 'float16', 'bfloat16', 'q8_0'] as const
export type ExportDtype = (typeof DTYPES)[number]

const Q8_BLOCK = 32
const Q8_BYTES = 2 + Q8_BLOCK
const LEVELS = 127

export const ENCODINGS: Readonly<Record<ExportDtype, Encoding>> = {
  float32: {
    safetensors: 'F32',
    gguf: { type: 0, file: 0 },
    block: 1,
    blockBytes: 4,
    encode: ({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength),
  },
  float16: {
    safetensors: 'F16',
    gguf: { type: 1, file: 1 },
    block: 1,
    blockBytes: 2,
    encode: (elements) => sixteenBits(elements, halfOf),
  },
  bfloat16: {
    safetensors: 'BF16',
    gguf: { type: 30, file: 32 },
    block: 1,
    blockBytes: 2,
    encode: (elements) => sixteenBits(elements, brainOf),
  },
  /** ggml's Q8_0: a half as the scale of 32 signed bytes. The error is at most 1/254 of the block's largest magnitude. */
  q8_0: {
    gguf: { type: 8, file: 7 },
    block: Q8_BLOCK,
    blockBytes: Q8_BYTES,
    encode: encodeQ8,
  },
}

function sixteenBits(elements: Float32Array, convert: (bits: number) => number): Uint8Array {
  const bits = new Uint32Array(elements.buffer, elements.byteOffset, elements.length)
  const halves = new Uint16Array(bits.length)
  for (let i = 0; i < bits.length; i++) halves[i] = convert(bits[i]!)
  return new Uint8Array(halves.buffer)
}

/** bfloat16: the upper half of a float32's bits, rounded to nearest even. NaN stays NaN. */
function brainOf(bits: number): number {
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16
}

function encodeQ8(elements: Float32Array): Uint8Array {
  const bytes = new Uint8Array((elements.length / Q8_BLOCK) * Q8_BYTES)
  const scale = new Float32Array(1)
  const scaleBits = new Uint32Array(scale.buffer)
  for (let from = 0, at = 0; from < elements.length; from += Q8_BLOCK, at += Q8_BYTES) {
    let largest = 0
    for (let i = from; i < from + Q8_BLOCK; i++) largest = Math.max(largest, Math.abs(elements[i]!))
    scale[0] = largest / LEVELS
    const inverse = largest === 0 ? 0 : Math.fround(1 / scale[0])
    const half = halfOf(scaleBits[0]!)
    bytes[at] = half & 0xff
    bytes[at + 1] = half >>> 8
    for (let i = 0; i < Q8_BLOCK; i++) {
      const level = Math.fround(elements[from + i]! * inverse)
      // Rounds halves away from zero, as roundf in C. A negative level becomes its two's complement.
      bytes[at + 2 + i] = Math.sign(level) * Math.floor(Math.abs(level) + 0.5)
    }
  }
  return bytes
}

/** Order of the rows of a tensor in a file, where it differs from the order in the model. */
export interface Reordering {
  /** Number of elements of a unit. Rows change places only within a unit. */
  readonly unit: number
  /** Reorders one unit or several. */
  reorder(elements: Float32Array<ArrayBuffer>): Float32Array<ArrayBuffer>
}

export function tensorPiece(
  { name, shape }: ModelTensor,
  { block, blockBytes, encode }: Encoding,
  reordering?: Reordering,
): TensorPiece {
  const elements = sizeOf(shape)
  return {
    tensor: name,
    elements,
    unit: reordering?.unit ?? shape.at(-1)!,
    length: (elements / block) * blockBytes,
    encode: (values) => encode(reordering?.reorder(values) ?? values),
  }
}
