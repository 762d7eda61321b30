/** The keeper of copies for other members: complete copies only, the latest ones, within a bound. */
import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { KeepQuestion } from '../../../protocols/copies.ts'
import { KEPT_BYTES_MAX } from '../../../src/base/limits.ts'
import { Keeper } from '../../../src/copies/keeper.ts'
import { foundingRoster } from '../../../src/membership/roster.ts'
import { STRATEGIES } from '../../../src/recovery/index.ts'
import { tinyRecovery } from '../../fixtures/swarm.ts'

const run = { recovery: tinyRecovery({ policy: ['shadow', 'checkfree'] }), stages: 6 }
const rule = STRATEGIES.get('shadow')!.copies!(run.recovery, run.stages)

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
  const keeper = new Keeper(run)
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
  const keeper = new Keeper(run)
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
  const keeper = new Keeper(run)
  const asked = question(1, 0, whole(1), KEPT_BYTES_MAX + 1)
  expect(() => keeper.accept(asked, 8)).toThrow(/would be more than/)
})

describe('copies leave', () => {
  const members = Array.from({ length: 7 }, (_, stage) => {
    const peer = { peer: `p${stage}`, session: 0, addresses: [], domain: '', host: '' }
    return { ...peer, id: stage, stage, ready: true }
  })
  const roster = (committed: number) => ({ ...foundingRoster(members[0]!), members, committed })
  const keeperOf = (stage: number) => rule.keepers(roster(0), stage)[0]!.id
  const stranger = (stage: number) =>
    roster(0).members.find(
      ({ id }) => !rule.keepers(roster(0), stage).some((each) => each.id === id),
    )!.id
  const steps = (keeper: Keeper) => keeper.copies.map(({ step }) => step)

  test('an old copy leaves once another member has to keep its stage, and not before it is old', () => {
    const keeper = new Keeper(run)
    give(keeper, 1, 0, whole(1))
    const most = rule.maxAge(3)
    keeper.follow(roster(1 + most), stranger(3))
    expect(steps(keeper)).toEqual([1])
    keeper.follow(roster(100), keeperOf(3))
    expect(steps(keeper)).toEqual([1])
    keeper.follow(roster(2 + most), stranger(3))
    expect(steps(keeper)).toEqual([])
  })

  test('a half copy leaves as a whole one does', () => {
    const keeper = new Keeper(run)
    give(keeper, 1, 0, whole(1).subarray(0, 5))
    keeper.follow(roster(100), stranger(3))
    expect(() => give(keeper, 1, 5, whole(1).subarray(5))).toThrow(/does not follow/)
  })

  test('copies of an abandoned branch leave after a rollback, and all copies when the run goes on without the member', () => {
    const keeper = new Keeper(run)
    give(keeper, 1, 0, whole(1))
    give(keeper, 2, 0, whole(2))
    keeper.forgetAfter(1)
    expect(steps(keeper)).toEqual([1])
    keeper.clear()
    expect(steps(keeper)).toEqual([])
  })

  test('a full memory has room for a copy that this member is to keep', () => {
    const keeper = new Keeper(run, 20)
    give(keeper, 1, 0, whole(1))
    give(keeper, 2, 0, whole(2))
    const next = { ...question(2, 0, whole(2)), stage: 0 }
    expect(() => keeper.accept(next, 8)).toThrow(/would be more than 20/)
    keeper.follow(roster(2), stranger(3))
    expect(keeper.accept(next, 8)).toHaveLength(8)
    expect(steps(keeper)).toEqual([])
  })
})

test('a lookup of copies that are not here keeps no memory, and a copy that the policy lacks is refused', () => {
  const keeper = new Keeper(run)
  for (let shard = 0; shard < 200; shard++) {
    const name = { strategy: 'shadow', stage: shard, step: 1, shard }
    expect(() => keeper.read(name, 0, 8)).toThrow(/is not kept here/)
  }
  expect(keeper.shelves).toBe(0)
  const asked = question(1, 0, whole(1))
  for (const other of [{ strategy: 'another' }, { strategy: 'snapshot' }, { shard: 1 }]) {
    expect(() => keeper.accept({ ...asked, ...other }, 8)).toThrow(/the policy has no such copy/)
  }
  expect(() => keeper.accept(question(1, 4, whole(1)), 4)).toThrow(/does not follow/)
  expect(keeper.shelves).toBe(0)
})
