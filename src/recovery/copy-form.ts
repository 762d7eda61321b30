/**
 * The encoding of a copy of a stage's state: the weights and, if the form has them, the optimizer's moments. Each is
 * encoded in pieces, so that the encoder never blocks the event loop for long.
 */
import { type Dtype, decodeTensor, encodeTensor, wireBytes } from '../../protocols/codec.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import { allFinite } from '../base/finite.ts'

/** Number formats of a copy. */
export interface CopyForm {
  readonly weights: Dtype
  /** Null leaves the moments out, so that a restored optimizer starts with moments of zero. */
  readonly moments: Dtype | null
}

/** Flat weights, first moment and second moment of a stage. Each of them may be empty. */
export type StateParts = readonly [Float32Array, Float32Array, Float32Array]

/** Elements of a piece. One piece takes a fraction of a millisecond, and is a multiple of an int8 block. */
const PIECE = 1 << 16

function* piecesOf(lengths: readonly number[], { weights, moments }: CopyForm) {
  for (const [part, length] of lengths.entries()) {
    const dtype = part === 0 ? weights : moments
    if (dtype === null) continue
    for (let begin = 0; begin < length; begin += PIECE) {
      yield { part, dtype, begin, end: Math.min(length, begin + PIECE) }
    }
  }
}

/**
 * Size of an encoded copy in bytes.
 * @param lengths number of elements of each part
 */
export function copyBytes(lengths: readonly number[], form: CopyForm): number {
  let bytes = 0
  for (const { dtype, begin, end } of piecesOf(lengths, form))
    bytes += wireBytes(dtype, end - begin)
  return bytes
}

/**
 * Encodes the parts. Each call of `next` encodes one piece; the generator returns all bytes.
 * @throws ProtocolError NON_FINITE: a stage must not be rebuilt from such a copy
 */
export function* encodeState(parts: StateParts, form: CopyForm): Generator<void, Uint8Array> {
  const lengths = parts.map(({ length }) => length)
  const bytes = new Uint8Array(copyBytes(lengths, form))
  let offset = 0
  for (const { part, dtype, begin, end } of piecesOf(lengths, form)) {
    const values = parts[part]!.subarray(begin, end)
    if (!allFinite(values)) throw new ProtocolError('NON_FINITE', 'the state is not finite')
    const piece = encodeTensor(dtype, values)
    bytes.set(piece, offset)
    offset += piece.length
    yield
  }
  return bytes
}

/**
 * Decodes a copy. Parts that the form leaves out are empty.
 * @param lengths number of elements of each part
 */
export function decodeState(
  bytes: Uint8Array,
  lengths: readonly number[],
  form: CopyForm,
): StateParts {
  const parts = lengths.map(
    (length, part) => new Float32Array(part === 0 || form.moments !== null ? length : 0),
  )
  let offset = 0
  for (const { part, dtype, begin, end } of piecesOf(lengths, form)) {
    const size = wireBytes(dtype, end - begin)
    // The slice is a copy, so that the decoder gets aligned bytes.
    const piece = bytes.slice(offset, offset + size)
    parts[part]!.set(decodeTensor(dtype, piece, end - begin), begin)
    offset += size
  }
  return parts as unknown as StateParts
}

/** Splits a copy into pieces of equal length, the last one padded with zeros. A single piece shares the memory. */
export function splitCopy(bytes: Uint8Array, pieces: number): Uint8Array[] {
  if (pieces === 1) return [bytes]
  const length = Math.ceil(bytes.length / pieces)
  return Array.from({ length: pieces }, (_, i) => {
    const piece = new Uint8Array(length)
    piece.set(bytes.subarray(i * length, (i + 1) * length))
    return piece
  })
}

/**
 * Joins the pieces that `splitCopy` made.
 * @param bytes size of the whole copy in bytes
 */
export function joinCopy(pieces: readonly Uint8Array[], bytes: number): Uint8Array {
  if (pieces.length === 1) return pieces[0]!
  const whole = new Uint8Array(bytes)
  let offset = 0
  for (const piece of pieces) {
    whole.set(piece.subarray(0, bytes - offset), offset)
    offset += piece.length
  }
  return whole
}
