/**
 * A stage's state as bytes, in the form in which a copy of it is kept: the weights, and if the form has them the
 * optimizer's moments, each cut into pieces that are encoded by themselves, so that no piece takes long.
 */
import { type Dtype, decodeTensor, encodeTensor, wireBytes } from '../../protocols/codec.ts'

export interface CopyForm {
  readonly weights: Dtype
  /** Null leaves them out: the optimizer starts afresh. */
  readonly moments: Dtype | null
}

/** What is copied of a stage: weights, first and second moment, any of which may be empty. */
export type StateParts = readonly [Float32Array, Float32Array, Float32Array]

/** Elements; a fraction of a millisecond to encode. A multiple of what shares a scale in int8. */
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

/** @param lengths elements of each part */
export function copyBytes(lengths: readonly number[], form: CopyForm): number {
  let bytes = 0
  for (const { dtype, begin, end } of piecesOf(lengths, form))
    bytes += wireBytes(dtype, end - begin)
  return bytes
}

/** Encodes piece by piece: each `next` does one, the last gives the bytes of all. */
export function* encodeState(parts: StateParts, form: CopyForm): Generator<void, Uint8Array> {
  const lengths = parts.map(({ length }) => length)
  const bytes = new Uint8Array(copyBytes(lengths, form))
  let offset = 0
  for (const { part, dtype, begin, end } of piecesOf(lengths, form)) {
    const piece = encodeTensor(dtype, parts[part]!.subarray(begin, end))
    bytes.set(piece, offset)
    offset += piece.length
    yield
  }
  return bytes
}

/** The parts that the form has; the others are empty. */
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
    // Copied, so that it is aligned for the decoder to look at.
    const piece = bytes.slice(offset, offset + size)
    parts[part]!.set(decodeTensor(dtype, piece, end - begin), begin)
    offset += size
  }
  return parts as unknown as StateParts
}

/** So many pieces of equal length, the last filled up with zeros; one is the bytes themselves. */
export function splitCopy(bytes: Uint8Array, pieces: number): Uint8Array[] {
  if (pieces === 1) return [bytes]
  const length = Math.ceil(bytes.length / pieces)
  return Array.from({ length: pieces }, (_, i) => {
    const piece = new Uint8Array(length)
    piece.set(bytes.subarray(i * length, (i + 1) * length))
    return piece
  })
}

/** What was split. @param bytes of the whole */
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
