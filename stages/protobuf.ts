/** Encoding of protocol buffers, as far as ONNX models need it. */

/** Encoded field of a message. Joined fields make a message. */
export type Field = Uint8Array

const VARINT = 0
const LENGTH_DELIMITED = 2
const FIXED32 = 5

export function join(fields: readonly Field[]): Uint8Array {
  const bytes = new Uint8Array(fields.reduce((length, field) => length + field.length, 0))
  let offset = 0
  for (const field of fields) {
    bytes.set(field, offset)
    offset += field.length
  }
  return bytes
}

/** Varint: seven bits a byte, low bits first. A negative number is a 64-bit two's complement. */
function varint(number: number | bigint): Uint8Array {
  const bytes: number[] = []
  let rest = BigInt.asUintN(64, BigInt(number))
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128)
  bytes.push(Number(rest))
  return Uint8Array.from(bytes)
}

function tag(field: number, wireType: number): Uint8Array {
  return varint((field << 3) | wireType)
}

export function integer(field: number, value: number): Field {
  return join([tag(field, VARINT), varint(value)])
}

export function float(field: number, value: number): Field {
  return join([tag(field, FIXED32), new Uint8Array(Float32Array.of(value).buffer)])
}

export function bytes(field: number, value: Uint8Array): Field {
  return join([lengthPrefix(field, value.length), value])
}

/** Prefix of a field with `length` bytes. */
export function lengthPrefix(field: number, length: number): Uint8Array {
  return join([tag(field, LENGTH_DELIMITED), varint(length)])
}

export function text(field: number, value: string): Field {
  return bytes(field, new TextEncoder().encode(value))
}

export function message(field: number, fields: readonly Field[]): Field {
  return bytes(field, join(fields))
}
