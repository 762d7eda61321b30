/**
 * Writes an ONNX model with named dimensions and standard operators, for every runtime and every length. The graphs of stages
 * are static, and use operators that are fast in ONNX Runtime.
 */
import { attributeField, DATA_TYPE } from '../onnx.ts'
import { bytes, type Field, integer, join, lengthPrefix, message, text } from '../protobuf.ts'
import { sizeOf } from '../shape.ts'
import { ENCODINGS, tensorPiece } from './encodings.ts'
import type { ModelTensor, Piece } from './piece.ts'

/** Version of the format, which runtimes of 2022 read. */
const IR_VERSION = 8
const OPERATOR_SET = 17

/** Name of a value. */
type Name = string
type Attribute = readonly ['int', number] | readonly ['ints', readonly number[]]
type Dimension = number | string
type Dtype = keyof typeof DATA_TYPE

export class OnnxBuilder {
  readonly #nodes: Field[] = []
  readonly #constants: Field[] = []
  readonly #constantNames = new Map<string, Name>()
  readonly #weights = new Map<string, ModelTensor>()
  readonly #values: Field[] = []
  #count = 0

  input(name: Name, dtype: Dtype, shape: readonly Dimension[]): Name {
    this.#values.push(message(11, valueFields(name, dtype, shape)))
    return name
  }

  output(name: Name, dtype: Dtype, shape: readonly Dimension[], value: Name): void {
    this.#nodes.push(nodeField('Identity', [value], [name], {}))
    this.#values.push(message(12, valueFields(name, dtype, shape)))
  }

  /** Adds a tensor of the model. */
  weight(tensor: ModelTensor): Name {
    this.#weights.set(tensor.name, tensor)
    return tensor.name
  }

  /** Adds a constant: a number or a list. */
  constant(data: Float32Array | BigInt64Array, shape: readonly number[] = []): Name {
    const dtype = data instanceof Float32Array ? 'float32' : 'int64'
    const key = `${dtype}[${shape}]${data.join()}`
    const known = this.#constantNames.get(key)
    if (known !== undefined) return known
    const name = `constant_${this.#constantNames.size}`
    this.#constantNames.set(key, name)
    const raw = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
    this.#constants.push(message(5, [...tensorFields(name, dtype, shape), bytes(9, raw)]))
    return name
  }

  float(value: number): Name {
    return this.constant(Float32Array.of(value))
  }

  integers(values: readonly number[]): Name {
    return this.constant(BigInt64Array.from(values, BigInt), [values.length])
  }

  add(op: string, inputs: readonly Name[], attributes: Record<string, Attribute> = {}): Name {
    return this.addAll(op, inputs, 1, attributes)[0]!
  }

  addAll(
    op: string,
    inputs: readonly Name[],
    outputs: number,
    attributes: Record<string, Attribute> = {},
  ): Name[] {
    const names = Array.from({ length: outputs }, () => `${op}_${this.#count++}`)
    this.#nodes.push(nodeField(op, inputs, names, attributes))
    return names
  }

  /**
   * Pieces of the model, and of a second file for the weights if `external` names one. A protocol buffer has at most 2 GiB.
   */
  build(external?: string): { model: Piece[]; data: Piece[] } {
    const data: Piece[] = []
    let offset = 0
    const weights = [...this.#weights.values()].flatMap((tensor): Piece[] => {
      const piece = tensorPiece(tensor, ENCODINGS.float32)
      const fields = tensorFields(tensor.name, 'float32', tensor.shape)
      if (external === undefined) {
        return nested(5, [join(fields), lengthPrefix(9, piece.length), piece])
      }
      const place = { location: external, offset, length: piece.length }
      const entries = Object.entries(place).map(([key, value]) =>
        message(13, [text(1, key), text(2, String(value))]),
      )
      data.push(piece)
      offset += piece.length
      return [message(5, [...fields, ...entries, integer(14, EXTERNAL)])]
    })
    const graph = [
      join([...this.#nodes, text(2, 'llama'), ...this.#constants]),
      ...weights,
      join(this.#values),
    ]
    const opset = message(8, [text(1, ''), integer(2, OPERATOR_SET)])
    const head = join([integer(1, IR_VERSION), text(2, 'gensyn-node'), opset])
    return { model: [head, ...nested(7, graph)], data }
  }
}

/** TensorProto.DataLocation */
const EXTERNAL = 1

/** A nested message of pieces. */
function nested(field: number, pieces: readonly Piece[]): Piece[] {
  const length = pieces.reduce((sum, piece) => sum + piece.length, 0)
  return [lengthPrefix(field, length), ...pieces]
}

function tensorFields(name: Name, dtype: 'float32' | 'int64', shape: readonly number[]): Field[] {
  return [...shape.map((size) => integer(1, size)), integer(2, DATA_TYPE[dtype]), text(8, name)]
}

function nodeField(
  op: string,
  inputs: readonly Name[],
  outputs: readonly Name[],
  attributes: Record<string, Attribute>,
): Field {
  return message(1, [
    ...inputs.map((name) => text(1, name)),
    ...outputs.map((name) => text(2, name)),
    text(3, outputs[0]!),
    text(4, op),
    ...Object.entries(attributes).map(([key, [kind, value]]) => attributeField(key, kind, value)),
  ])
}

function valueFields(name: Name, dtype: Dtype, shape: readonly Dimension[]) {
  const dimensions = shape.map((size) =>
    message(1, [typeof size === 'number' ? integer(1, size) : text(2, size)]),
  )
  const tensor = [integer(1, DATA_TYPE[dtype]), message(2, dimensions)]
  return [text(1, name), message(2, [message(1, tensor)])]
}

/** Bytes of the weights in an ONNX model. */
export function weightBytes(tensors: readonly ModelTensor[]): number {
  return tensors.reduce((sum, { shape }) => sum + 4 * sizeOf(shape), 0)
}
