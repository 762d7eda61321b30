/**
 * Boxes in the coordinates of a whole tensor. A checkpoint names parts of tensors by boxes, and the replicas of a stage
 * divide a save into boxes. All tensors are row-major.
 */
import { sizeOf } from './shape.ts'

export interface Box {
  /** Coordinates of the first element, one for each dimension. */
  readonly offset: readonly number[]
  readonly size: readonly number[]
}

/** Rows `begin` to `end` of a tensor. */
export function rowsOf(shape: readonly number[], begin: number, end: number): Box {
  const [, ...rest] = shape
  return { offset: [begin, ...rest.map(() => 0)], size: [end - begin, ...rest] }
}

/** Elements in a row. */
export function rowSize(shape: readonly number[]): number {
  return sizeOf(shape.slice(1))
}

/** First element of a box in the flat tensor, if the elements of the box are contiguous there; null otherwise. */
export function contiguousStart(shape: readonly number[], { offset, size }: Box): number | null {
  const partial = shape.findLastIndex((length, axis) => size[axis] !== length)
  if (size.some((length, axis) => axis < partial && length !== 1)) return null
  return offset.reduce((start, at, axis) => start * shape[axis]! + at, 0)
}

/** Copies a box from a flat tensor, or into one with `flat` and `box` exchanged. */
export function copyBox(
  from: { readonly flat: Float32Array; readonly shape: readonly number[]; readonly box: Box },
  to: { readonly flat: Float32Array; readonly shape: readonly number[]; readonly box: Box },
): void {
  const { size } = from.box
  const run = size.at(-1)!
  const lines = sizeOf(size) / run
  for (let line = 0; line < lines; line++) {
    const start = lineStart(from.shape, from.box, line)
    to.flat.set(from.flat.subarray(start, start + run), lineStart(to.shape, to.box, line))
  }
}

/** First element of a line of a box in the flat tensor. A line is a run along the last dimension. */
function lineStart(shape: readonly number[], { offset, size }: Box, line: number): number {
  let rest = line
  let start = offset.at(-1)!
  let stride = shape.at(-1)!
  for (let axis = shape.length - 2; axis >= 0; axis--) {
    start += (offset[axis]! + (rest % size[axis]!)) * stride
    rest = Math.floor(rest / size[axis]!)
    stride *= shape[axis]!
  }
  return start
}

/** Checks that boxes cover a tensor, each element once. Returns what is wrong, or null. */
export function coverFault(shape: readonly number[], boxes: readonly Box[]): string | null {
  for (const box of boxes) {
    const { offset, size } = box
    const inside =
      offset.length === shape.length &&
      size.length === shape.length &&
      shape.every((length, axis) => offset[axis]! + size[axis]! <= length)
    if (!inside) return `box ${shown(box)} is not inside [${shape}]`
  }
  const sorted = boxes.toSorted((a, b) => a.offset[0]! - b.offset[0]!)
  for (const [i, box] of sorted.entries()) {
    for (let j = i + 1; j < sorted.length; j++) {
      const other = sorted[j]!
      // All later boxes begin even further on.
      if (other.offset[0]! >= box.offset[0]! + box.size[0]!) break
      if (overlap(box, other)) return `boxes ${shown(box)} and ${shown(other)} overlap`
    }
  }
  const covered = boxes.reduce((sum, { size }) => sum + sizeOf(size), 0)
  const whole = sizeOf(shape)
  return covered === whole ? null : `${covered} of ${whole} elements are there`
}

function overlap(a: Box, b: Box): boolean {
  return a.offset.every(
    (at, axis) => at < b.offset[axis]! + b.size[axis]! && b.offset[axis]! < at + a.size[axis]!,
  )
}

function shown({ offset, size }: Box): string {
  return `[${offset}]+[${size}]`
}

/** Part of one of several tensors, in rows. */
export interface Share {
  /** Index of the tensor. */
  readonly tensor: number
  readonly begin: number
  readonly end: number
}

/**
 * Part of the tensors that replica `replica` of `replicas` saves. The elements of all tensors in one line are divided into
 * equal pieces, at the nearest row. Every replica computes the same division without a message.
 */
export function shareOf(
  shapes: readonly (readonly number[])[],
  replica: number,
  replicas: number,
): Share[] {
  const total = shapes.reduce((sum, shape) => sum + sizeOf(shape), 0)
  const shares: Share[] = []
  let start = 0
  for (const [tensor, shape] of shapes.entries()) {
    const [rows] = shape as [number]
    const size = rowSize(shape)
    const cut = (at: number) =>
      Math.max(0, Math.min(rows, Math.round(((total * at) / replicas - start) / size)))
    const [begin, end] = [cut(replica), cut(replica + 1)]
    if (end > begin) shares.push({ tensor, begin, end })
    start += rows * size
  }
  return shares
}
