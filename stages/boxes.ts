/**
 * Boxes in the coordinates of a whole tensor: how a checkpoint says which part of it lies where, and how replicas of a
 * stage divide among them what they save. All tensors are row-major.
 */
import { sizeOf } from './shape.ts'

export interface Box {
  /** Of its first element, one a dimension. */
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

/** Where a box begins in the flat tensor if its elements lie there one after the other; null if they do not. */
export function contiguousStart(shape: readonly number[], { offset, size }: Box): number | null {
  const partial = shape.findLastIndex((length, axis) => size[axis] !== length)
  if (size.some((length, axis) => axis < partial && length !== 1)) return null
  return offset.reduce((start, at, axis) => start * shape[axis]! + at, 0)
}

/** Copies a box out of a flat tensor, or, with `flat` and `box` exchanged, into it. */
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

/** Where line `line` of a box, a run along the last dimension, begins in the flat tensor. */
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

/** What is wrong with boxes that are to cover a tensor, each element once; null if nothing is. */
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
      // Boxes after this one begin further on still.
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

/** Rows of one of several tensors. */
export interface Share {
  /** Index of the tensor. */
  readonly tensor: number
  readonly begin: number
  readonly end: number
}

/**
 * What replica `replica` of `replicas` saves of tensors that all of them hold: the elements of all tensors in one line are
 * cut into equal pieces, at the nearest row. Every replica comes to the same cuts, without a word between them.
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
