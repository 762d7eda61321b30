/** From which history a returning swarm continues, and with which roster. */
import { expect, test } from 'vitest'
import { KEPT } from '../../../protocols/copies.ts'
import type { Lineage } from '../../../protocols/incarnation.ts'
import { branchesOf } from '../../../src/checkpoint/remains.ts'
import { founderOf, planReturn, type Returner } from '../../../src/holder/return-plan.ts'
import { FIRST, incarnationId } from '../../../src/membership/incarnation.ts'
import { foundingRoster } from '../../../src/membership/roster.ts'
import { tinyRun } from '../../fixtures/swarm.ts'

const RUN = 'a'.repeat(64)
const run = tinyRun({ stages: 1 })
const second: Lineage = {
  record: { number: 1, ancestor: RUN, step: 20, roster: 'b'.repeat(64) },
  absent: [],
  branches: [{ id: RUN, until: 20 }],
}

function rosterOf(peers: readonly string[], committed: number) {
  const members = peers.map((peer, id) => {
    return { id, peer, session: 1, addresses: [], domain: '', host: '', stage: id, ready: true }
  })
  const nextId = peers.length
  return { ...foundingRoster(members[0]!), members, nextId, committed, loss: 3, epoch: 70 }
}

interface Had {
  readonly lineage?: Lineage
  readonly members?: readonly string[]
  readonly committed?: number
  /** Stage and step of each state on the disk, and the incarnation that wrote it. */
  readonly states?: readonly (readonly [number, number, Lineage?])[]
}

function returner(peer: string, had: Had = {}): Returner {
  const { lineage = FIRST, members = ['z', 'b'], committed = 30, states = [] } = had
  const branches = branchesOf(RUN, lineage)
  return {
    ...{ peer, session: 9, addresses: [`/${peer}`], domain: 'd', host: '' },
    history:
      states.length === 0 ? null : { branches, lineage, roster: rosterOf(members, committed) },
    holdings: states.map(([stage, step, of = lineage]) => {
      const name = { strategy: KEPT, stage, step, shard: 0 }
      return { ...name, run: incarnationId(RUN, of.record), loss: step / 10 }
    }),
  }
}

test('members stand as in the last roster, are new, and hold nothing; the smallest id founds', () => {
  const all = [
    returner('a'),
    returner('b', { states: [[1, 30]] }),
    returner('z', { states: [[0, 30]] }),
  ]
  const plan = planReturn(run, RUN, all)!
  const { members, coordinator, committed, loss, epoch, nextId } = plan.roster
  expect(members.map(({ id, peer, session, stage }) => [id, peer, session, stage])).toEqual([
    [2, 'z', 9, null],
    [3, 'b', 9, null],
    [4, 'a', 9, null],
  ])
  expect({ coordinator, committed, loss, epoch, nextId }).toEqual({
    ...{ coordinator: 4, committed: 30, loss: 3, epoch: 71, nextId: 5 },
  })
  expect(plan).toMatchObject({ isWhole: true, absent: [] })
  expect(founderOf(['z', 'a', 'b'])).toBe('a')
})

test('every peer makes the same plan, in whatever order the answers come', () => {
  const all = [
    returner('a'),
    returner('b', {
      states: [
        [1, 30],
        [1, 20],
      ],
    }),
    returner('z', { states: [[0, 20]] }),
  ]
  expect(planReturn(run, RUN, all.toReversed())).toEqual(planReturn(run, RUN, all))
})

test('the latest incarnation counts, with the states of its ancestor up to where it was founded', () => {
  const old = returner('z', {
    committed: 900,
    states: [
      [0, 20],
      [0, 900],
      [1, 900],
    ],
  })
  const late = returner('b', {
    lineage: second,
    committed: 25,
    states: [
      [1, 20, FIRST],
      [1, 25],
    ],
  })
  const plan = planReturn(run, RUN, [old, late])!
  expect(plan.found).toMatchObject({ step: 20, exact: [0, 1], missing: [] })
  expect(plan.history.lineage).toEqual(second)
})

test('a member that is missing, and a stage that is missing, are told apart', () => {
  const one = planReturn(run, RUN, [
    returner('z', {
      states: [
        [0, 30],
        [1, 30],
      ],
    }),
  ])!
  expect(one).toMatchObject({ isWhole: true, absent: [{ peer: 'b' }] })
  const other = planReturn(run, RUN, [returner('z', { states: [[1, 30]] })])!
  expect(other.isWhole).toBe(false)
  expect(other.found.refused).toEqual([expect.stringMatching(/^stage 0 /)])
  expect(planReturn(run, RUN, [returner('z'), returner('b')])).toBeNull()
})
