/** Boxes against a reference that treats single elements. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Box, contiguousStart, copyBox, coverFault, shareOf } from '../../stages/boxes.ts'
import { sizeOf } from '../../stages/shape.ts'

const shapes = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 4 })

/** A shape and a box inside it. */
const boxed = shapes.chain((shape) =>
  fc
    .tuple(
      ...shape.map((length) =>
        fc
          .tuple(fc.integer({ min: 0, max: length - 1 }), fc.integer({ min: 1, max: length }))
          .map(([at, size]) => [at, Math.min(size, length - at)] as const),
      ),
    )
    .map((axes) => {
      const box: Box = { offset: axes.map(([at]) => at), size: axes.map(([, size]) => size) }
      return { shape, box }
    }),
)

/** Flat indices of a box's elements, in row-major order, by counting through the whole tensor. */
function elementsOf(shape: readonly number[], { offset, size }: Box): number[] {
  return Array.from({ length: sizeOf(shape) }, (_, flat) => flat).filter((flat) => {
    let rest = flat
    return shape
      .map((length, axis) => {
        const stride = sizeOf(shape.slice(axis + 1))
        const at = Math.floor(rest / stride) % length
        rest %= stride
        return at >= offset[axis]! && at < offset[axis]! + size[axis]!
      })
      .every(Boolean)
  })
}

test('a box is copied in row-major order, and copied back to its place', () => {
  fc.assert(
    fc.property(boxed, ({ shape, box }) => {
      const flat = Float32Array.from({ length: sizeOf(shape) }, (_, i) => i)
      const out = new Float32Array(sizeOf(box.size))
      const own = {
        flat: out,
        shape: box.size,
        box: { offset: box.size.map(() => 0), size: box.size },
      }
      copyBox({ flat, shape, box }, own)
      expect([...out]).toEqual(elementsOf(shape, box))
      const back = new Float32Array(flat.length).fill(-1)
      copyBox(own, { flat: back, shape, box })
      const inside = new Set(elementsOf(shape, box))
      expect([...back]).toEqual([...flat].map((i) => (inside.has(i) ? i : -1)))
    }),
  )
})

test('a box is contiguous exactly if its elements are adjacent', () => {
  fc.assert(
    fc.property(boxed, ({ shape, box }) => {
      const elements = elementsOf(shape, box)
      const follow = elements.every((flat, i) => flat === elements[0]! + i)
      expect(contiguousStart(shape, box)).toBe(follow ? elements[0] : null)
    }),
  )
})

test('boxes cover a tensor exactly if every element is in one box', () => {
  fc.assert(
    fc.property(
      shapes.chain((shape) =>
        fc.tuple(fc.constant(shape), fc.array(cutsOf(shape), { maxLength: 3 })),
      ),
      fc.nat(2),
      ([shape, cuts], change) => {
        const whole: Box = { offset: shape.map(() => 0), size: shape }
        const boxes = cuts.reduce<Box[]>(
          (parts, cut) => parts.flatMap((box) => split(box, cut)),
          [whole],
        )
        // Unchanged boxes, one box missing, or one box twice.
        if (change === 1) boxes.pop()
        if (change === 2) boxes.push(boxes[0]!)
        const covered = boxes.flatMap((box) => elementsOf(shape, box)).sort((a, b) => a - b)
        const exact = covered.length === sizeOf(shape) && covered.every((flat, i) => flat === i)
        expect(coverFault(shape, boxes) === null).toBe(exact)
      },
    ),
  )
  expect(coverFault([2, 3], [{ offset: [0, 1], size: [2, 3] }])).toMatch('not inside')
  expect(coverFault([2, 3], [{ offset: [0], size: [2] }])).toMatch('not inside')
})

type Cut = readonly [axis: number, at: number]

function cutsOf(shape: readonly number[]): fc.Arbitrary<Cut> {
  return fc
    .nat(shape.length - 1)
    .chain((axis) => fc.nat(shape[axis]!).map((at) => [axis, at] as Cut))
}

function split(box: Box, [axis, at]: Cut): Box[] {
  const { offset, size } = box
  const first = at - offset[axis]!
  if (first <= 0 || first >= size[axis]!) return [box]
  return [
    { offset, size: size.with(axis, first) },
    { offset: offset.with(axis, at), size: size.with(axis, size[axis]! - first) },
  ]
}

test('the shares of all replicas have each row once, and differ by at most a row', () => {
  fc.assert(
    fc.property(
      fc.array(shapes, { minLength: 1, maxLength: 6 }),
      fc.integer({ min: 1, max: 5 }),
      (tensors, replicas) => {
        const rows = tensors.map((shape) => Array<number>(shape[0]!).fill(0))
        const total = tensors.reduce((sum, shape) => sum + sizeOf(shape), 0)
        const largestRow = Math.max(...tensors.map(([, ...row]) => sizeOf(row)))
        for (let replica = 0; replica < replicas; replica++) {
          let elements = 0
          for (const { tensor, begin, end } of shareOf(tensors, replica, replicas)) {
            for (let row = begin; row < end; row++) rows[tensor]![row]!++
            elements += (end - begin) * sizeOf(tensors[tensor]!.slice(1))
          }
          expect(Math.abs(elements - total / replicas)).toBeLessThanOrEqual(largestRow)
        }
        expect(rows.flat().every((times) => times === 1)).toBe(true)
      },
    ),
  )
})
