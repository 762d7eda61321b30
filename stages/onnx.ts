/** Writes a graph as an ONNX model. Field numbers are those of onnx.proto. */
import { assertInPlaceOutputs } from './aliasing.ts'
import { type Attributes, type Graph, liveNodes, type Node, type Value } from './graph.ts'
import type { Operator } from './ops/operator.ts'
import { operators } from './ops.ts'
import { bytes, type Field, float, integer, join, message, text } from './protobuf.ts'
import type { DType, Type } from './shape.ts'

const IR_VERSION = 10
/** Versions of the operator sets, as onnxruntime 1.30 has them. */
const OPERATOR_SETS = { '': 23, 'com.microsoft': 1 }

/** TensorProto.DataType */
export const DATA_TYPE: Readonly<Record<DType, number>> = {
  float32: 1,
  int32: 6,
  int64: 7,
  float16: 10,
}
/** AttributeProto.AttributeType */
const ATTRIBUTE_TYPE = { float: 1, int: 2, string: 3, ints: 7 }

/** Bytes of a ModelProto. @throws AliasError if an output would overwrite elements that another node still reads */
export function encodeModel(graph: Graph): Uint8Array {
  assertInPlaceOutputs(graph)
  const opsets = Object.entries(OPERATOR_SETS).map(([domain, version]) =>
    message(8, [text(1, domain), integer(2, version)]),
  )
  return join([integer(1, IR_VERSION), ...opsets, message(7, graphFields(graph))])
}

function graphFields(graph: Graph): Field[] {
  const nodes = liveNodes(graph)
  const used = new Set(nodes.flatMap((node) => node.inputs))
  // The value of an output has the output's name in the model.
  const names = new Map(graph.outputs.map(({ name, value }) => [value, name]))
  const nameOf = (value: Value) => names.get(value) ?? value.name
  return [
    ...nodes.map((node) => message(1, nodeFields(node, nameOf))),
    text(2, 'stage'),
    ...graph.constants
      .filter((constant) => used.has(constant))
      .map(({ name, dtype, shape, data }) =>
        message(5, [
          ...shape.map((dimension) => integer(1, dimension)),
          integer(2, DATA_TYPE[dtype]),
          text(8, name),
          bytes(9, new Uint8Array(data!.buffer, data!.byteOffset, data!.byteLength)),
        ]),
      ),
    ...graph.inputs.map((input) => message(11, valueFields(input.name, input))),
    ...graph.outputs.map(({ name, value }) => message(12, valueFields(name, value))),
  ]
}

function nodeFields(node: Node, nameOf: (value: Value) => string): Field[] {
  const operator: Operator = operators[node.op]
  return [
    ...node.inputs.map((input) => text(1, nameOf(input))),
    ...node.outputs.map((output) => text(2, nameOf(output))),
    text(3, node.name),
    text(4, node.op),
    ...attributeFields(node, operator),
    ...(operator.domain === undefined ? [] : [text(7, operator.domain)]),
  ]
}

function attributeFields(
  { name, attributes }: { name: string; attributes: Attributes },
  operator: Operator,
): Field[] {
  return Object.entries(attributes).map(([key, value]) => {
    const kind = operator.attributes?.[key]
    if (kind === undefined) throw new Error(`${name}: there is no attribute ${key}`)
    return attributeField(key, kind, value)
  })
}

/** AttributeProto in a node. */
export function attributeField(
  key: string,
  kind: keyof typeof ATTRIBUTE_TYPE,
  value: Attributes[string],
): Field {
  const encoded = {
    float: () => [float(2, value as number)],
    int: () => [integer(3, value as number)],
    string: () => [text(4, value as string)],
    ints: () => (value as readonly number[]).map((item) => integer(8, item)),
  }[kind]()
  return message(5, [text(1, key), ...encoded, integer(20, ATTRIBUTE_TYPE[kind])])
}

/** ValueInfoProto of a tensor of static shape. */
function valueFields(name: string, { dtype, shape }: Type): Field[] {
  const dimensions = shape.map((dimension) => message(1, [integer(1, dimension)]))
  const tensor = [integer(1, DATA_TYPE[dtype]), message(2, dimensions)]
  return [text(1, name), message(2, [message(1, tensor)])]
}
