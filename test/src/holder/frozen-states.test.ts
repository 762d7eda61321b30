/** Frozen states: a holder keeps a copy of its state for each new replica, until the replica has it or is gone. */
import { expect, test } from 'vitest'
import type { Member, Roster } from '../../../protocols/membership.ts'
import { StageFollower } from '../../../src/holder/stage-follower.ts'
import { StageSlot } from '../../../src/holder/stage-slot.ts'
import { foundingRoster } from '../../../src/membership/roster.ts'
import { CountingBody } from './counting-stage.ts'
import { slotContext } from './slot-context.ts'

const STAGE = 1
const founder = foundingRoster({ peer: 'p0', session: 0, addresses: [], domain: '' })

function member(id: number, ready: boolean): Member {
  return {
    id,
    peer: `p${id}`,
    session: 0,
    addresses: [],
    domain: '',
    host: '',
    stage: STAGE,
    ready,
  }
}

/** A holder of a stage, member 0, that follows rosters. */
async function holder() {
  let roster: Roster = founder
  const options = {
    ...slotContext(),
    roster: () => roster,
    own: () => roster.members[0],
    createStage: async () => new CountingBody(),
  }
  const slot = new StageSlot(options)
  const follower = new StageFollower({ ...options, slot, committed: () => {} })
  const question = { run: 'r', epoch: 0, step: 0, stage: STAGE, strategy: 'seed', donors: [] }
  await slot.hold(question)
  const follow = async (change: Partial<Roster>) => {
    const before = roster
    roster = { ...before, ...change, epoch: before.epoch + 1 }
    await follower.follow(before, roster, roster.members[0]!)
  }
  return {
    /** Names the replicas that are learning the stage, beside the holder and those that have learned it. */
    name: (learning: readonly number[], ready: readonly number[] = []) =>
      follow({
        members: [0, ...ready, ...learning].map((id) => member(id, !learning.includes(id))),
      }),
    commit: async () => {
      const step = roster.committed + 1
      const plan = { version: 0, alone: true, expected: [], drives: [] }
      await slot.expectActive().prepare({ run: 'r', epoch: roster.fenceEpoch, step, ...plan })
      await follow({ committed: step, loss: 1, learningRate: 0.1, norm: 0 })
    },
    /** Steps after which the state could be fetched here, beside the present one. */
    kept: () =>
      Array.from({ length: roster.committed }, (_, step) => step).filter((step) => {
        try {
          return slot.donor(step, STAGE, roster.committed) !== undefined
        } catch {
          return false
        }
      }),
  }
}

test('a replica that has synchronized frees its copy, although another still synchronizes', async () => {
  const { name, commit, kept } = await holder()
  await name([])
  await name([1])
  await commit()
  await name([1, 2])
  await commit()
  expect(kept()).toEqual([0, 1])
  await name([2], [1])
  expect(kept()).toEqual([1])
  await name([2, 3], [1])
  await commit()
  expect(kept()).toEqual([1, 2])
})

test('a replica that is gone frees its copy, although another still synchronizes', async () => {
  const { name, commit, kept } = await holder()
  await name([1])
  await commit()
  await name([1, 2])
  await commit()
  await name([2])
  expect(kept()).toEqual([1])
  await name([])
  expect(kept()).toEqual([])
})

test('replicas that begin at the same step share one copy, which stays until the last of them has it', async () => {
  const { name, commit, kept } = await holder()
  await name([1, 2])
  await commit()
  await name([2], [1])
  expect(kept()).toEqual([0])
  await name([], [1, 2])
  expect(kept()).toEqual([])
})
