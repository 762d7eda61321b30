/** Stages go to the members that have them on disk, and every member keeps at most one. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { KEPT } from '../../../protocols/copies.ts'
import type { Member } from '../../../protocols/membership.ts'
import { toOwners } from '../../../src/coordinator/stage-owners.ts'

const spares: Member[] = Array.from({ length: 6 }, (_, id) => {
  const who = { id, peer: `p${id}`, session: id, addresses: [], domain: '', host: '' }
  return { ...who, stage: null, ready: true }
})
const kept = (peer: string, stage: number, step = 10) => {
  return { peer, strategy: KEPT, stage, step, shard: 0 }
}
const matchesOf = (members: readonly number[]) =>
  members.map((id, stage) => ({ stage, member: spares[id]! }))
const idsOf = (matches: ReturnType<typeof toOwners>) => matches.map(({ member }) => member.id)
const none = new Map<string, number | null>()

test('an owner outside the matches takes its stage, and two owners change places', () => {
  const copies = [kept('p5', 0), kept('p2', 1), kept('p1', 2)]
  expect(idsOf(toOwners(matchesOf([0, 1, 2]), copies, { spares, wishes: none }))).toEqual([5, 2, 1])
})

test('only the latest state makes an owner', () => {
  const copies = [kept('p5', 0, 10), kept('p4', 0, 20)]
  expect(idsOf(toOwners(matchesOf([0]), copies, { spares, wishes: none }))).toEqual([4])
})

test('a peer that insists on a stage neither gives its match up nor takes another', () => {
  const copies = [kept('p5', 0), kept('p4', 1)]
  const wishes = new Map([
    ['p0', 0],
    ['p4', 3],
  ])
  expect(idsOf(toOwners(matchesOf([0, 1]), copies, { spares, wishes }))).toEqual([0, 1])
})

test('no member gets two stages, and no match gets worse', () => {
  const copies = fc.array(
    fc.record({ peer: fc.nat(5), stage: fc.nat(4), step: fc.constantFrom(10, 20) }),
  )
  const members = fc.shuffledSubarray([0, 1, 2, 3, 4, 5], { minLength: 1, maxLength: 5 })
  fc.assert(
    fc.property(members, copies, (chosen, drawn) => {
      const all = drawn.map(({ peer, stage, step }) => kept(`p${peer}`, stage, step))
      const owns = ({ stage, member }: { stage: number; member: Member }) => {
        const own = all.filter((each) => each.stage === stage)
        const step = Math.max(...own.map((each) => each.step))
        return own.some((each) => each.peer === member.peer && each.step === step)
      }
      const before = matchesOf(chosen)
      const after = toOwners(before, all, { spares, wishes: none })
      expect(after.map(({ stage }) => stage)).toEqual(before.map(({ stage }) => stage))
      expect(new Set(idsOf(after)).size).toBe(before.length)
      expect(after.filter(owns).length).toBeGreaterThanOrEqual(before.filter(owns).length)
    }),
  )
})
