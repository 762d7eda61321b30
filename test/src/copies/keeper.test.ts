/** The keeper of copies for other members: complete copies only, the latest ones, within a bound. */
import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import type { KeepQuestion } from '../../../protocols/copies.ts'
import { KEPT_BYTES_MAX } from '../../../src/base/limits.ts'
import { Keeper } from '../../../src/copies/keeper.ts'

function question(step: number, offset: number, piece: Uint8Array, bytes = 8): KeepQuestion {
  const sha256 = createHash('sha256').update(piece).digest('hex')
  const facts = { norm: 0.5, updates: step, learningRateScale: 1.1 }
  return { run: 'r', strategy: 'shadow', stage: 3, step, shard: 0, ...facts, bytes, offset, sha256 }
}

function give(keeper: Keeper, step: number, offset: number, piece: Uint8Array): void {
  const asked = question(step, offset, piece)
  const place = keeper.accept(asked, piece.length)
  place.set(piece)
  keeper.keep(asked, place)
}

const whole = (step: number) => Uint8Array.from({ length: 8 }, (_, i) => 10 * step + i)

test('a copy is available after its last piece, and replaces earlier copies', () => {
  const keeper = new Keeper()
  const name = (step: number) => ({ strategy: 'shadow', stage: 3, step, shard: 0 })
  for (const step of [1, 2]) {
    give(keeper, step, 0, whole(step).subarray(0, 5))
    expect(keeper.copies.map((copy) => copy.step)).not.toContain(step)
    give(keeper, step, 5, whole(step).subarray(5))
    expect(keeper.copies[0]).toEqual(name(step))
  }
  give(keeper, 3, 0, whole(3))
  expect(keeper.copies).toEqual([name(3), name(2)])
  const { answer, body } = keeper.read(name(2), 2, 4)
  expect([...body]).toEqual([22, 23, 24, 25])
  expect(answer).toMatchObject({ norm: 0.5, updates: 2, learningRateScale: 1.1 })
  expect(() => keeper.read(name(1), 0, 8)).toThrow(/step 1.*is not kept here/)
  expect(() => keeper.read(name(2), 5, 4)).toThrow(/has 8 bytes/)
})

test('a piece that is misplaced, too long or damaged is refused, and the earlier copy stays', () => {
  const keeper = new Keeper()
  give(keeper, 1, 0, whole(1))
  expect(() => give(keeper, 2, 5, whole(2).subarray(5))).toThrow(/does not follow/)
  give(keeper, 2, 0, whole(2).subarray(0, 5))
  expect(() => give(keeper, 2, 4, whole(2).subarray(4))).toThrow(/does not follow/)
  expect(() => keeper.accept(question(2, 5, whole(2)), 4)).toThrow(/piece 5\+4 of 8 bytes/)
  const damaged = question(2, 5, whole(2).subarray(5))
  const place = keeper.accept(damaged, 3)
  place.set([0, 0, 0])
  expect(() => keeper.keep(damaged, place)).toThrow(/hash differs/)
  expect(keeper.copies.map(({ step }) => step)).toEqual([1])
})

test('a copy above the bound is refused before memory is allocated', () => {
  const keeper = new Keeper()
  const asked = question(1, 0, whole(1), KEPT_BYTES_MAX + 1)
  expect(() => keeper.accept(asked, 8)).toThrow(/would be more than/)
})
