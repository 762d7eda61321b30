/** Writes GGUF version 3, the file format of ggml and llama.cpp: metadata, places of the tensors, tensors. */
import { join } from '../protobuf.ts'
import { type Encoding, type Reordering, tensorPiece } from './encodings.ts'
import type { ModelTensor, Piece } from './piece.ts'

const MAGIC = 'GGUF'
const VERSION = 3
/** Bytes of alignment. Each tensor begins at a multiple of it from the start of the first tensor. */
const ALIGNMENT = 32

/** gguf_metadata_value_type */
const TYPE = { uint32: 4, int32: 5, float32: 6, bool: 7, string: 8, array: 9 }

type GgufValue =
  | { readonly uint32: number }
  | { readonly float32: number }
  | { readonly bool: boolean }
  | { readonly string: string }
  | { readonly strings: readonly string[] }
  | { readonly int32s: readonly number[] }

export type GgufMetadata = readonly (readonly [key: string, value: GgufValue])[]

export interface GgufTensor {
  /** Name in ggml. */
  readonly name: string
  readonly encoding: Encoding
  readonly reordering?: Reordering | undefined
  /** Source of the elements: a tensor of the model, or numbers that the format needs. */
  readonly source: ModelTensor | Float32Array<ArrayBuffer>
}

export function planGguf(metadata: GgufMetadata, tensors: readonly GgufTensor[]): Piece[] {
  const head = [
    new TextEncoder().encode(MAGIC),
    uint32(VERSION),
    uint64(tensors.length),
    uint64(metadata.length),
    ...metadata.flatMap(([key, value]) => [text(key), fieldOf(value)]),
  ]
  const body: Piece[] = []
  let offset = 0
  for (const tensor of tensors) {
    const { piece, shape, length } = contents(tensor)
    head.push(
      text(tensor.name),
      uint32(shape.length),
      // GGUF lists the fastest axis first.
      ...shape.toReversed().map(uint64),
      uint32(tensor.encoding.gguf.type),
      uint64(offset),
    )
    body.push(piece, padding(length))
    offset += length + padding(length).length
  }
  const header = join(head)
  return [header, padding(header.length), ...body]
}

function contents({ source, encoding, reordering }: GgufTensor) {
  if (source instanceof Float32Array) {
    const piece = encoding.encode(source)
    return { piece, shape: [source.length], length: piece.length }
  }
  const piece = tensorPiece(source, encoding, reordering)
  return { piece, shape: source.shape, length: piece.length }
}

function fieldOf(value: GgufValue): Uint8Array {
  if ('uint32' in value) return join([uint32(TYPE.uint32), uint32(value.uint32)])
  if ('float32' in value) return join([uint32(TYPE.float32), float32(value.float32)])
  if ('bool' in value) return join([uint32(TYPE.bool), Uint8Array.of(Number(value.bool))])
  if ('string' in value) return join([uint32(TYPE.string), text(value.string)])
  if ('strings' in value) return array(TYPE.string, value.strings.map(text))
  return array(
    TYPE.int32,
    value.int32s.map((number) => uint32(number)),
  )
}

function array(type: number, items: readonly Uint8Array[]): Uint8Array {
  return join([uint32(TYPE.array), uint32(type), uint64(items.length), ...items])
}

/** UTF-8 text with its length before it. */
function text(value: string): Uint8Array {
  const bytes = new TextEncoder().encode(value)
  return join([uint64(bytes.length), bytes])
}

function uint32(value: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(value).buffer)
}

function uint64(value: number): Uint8Array {
  return new Uint8Array(BigUint64Array.of(BigInt(value)).buffer)
}

function float32(value: number): Uint8Array {
  return new Uint8Array(Float32Array.of(value).buffer)
}

function padding(length: number): Uint8Array {
  return new Uint8Array((ALIGNMENT - (length % ALIGNMENT)) % ALIGNMENT)
}
