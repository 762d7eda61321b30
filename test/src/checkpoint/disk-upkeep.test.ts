/** What a peer writes to its disk, when, and what leaves. */
import { expect, test } from 'vitest'
import { KEPT } from '../../../protocols/copies.ts'
import type { Lineage } from '../../../protocols/incarnation.ts'
import type { Roster } from '../../../protocols/membership.ts'
import { MemoryStore } from '../../../sim/world/memory-store.ts'
import { createJournal, type Entry } from '../../../src/base/journal.ts'
import { DiskUpkeep } from '../../../src/checkpoint/disk-upkeep.ts'
import { branchesOf } from '../../../src/checkpoint/remains.ts'
import { StageDisk } from '../../../src/checkpoint/stage-disk.ts'
import { branchesBefore, FIRST, incarnationId } from '../../../src/membership/incarnation.ts'
import { foundingRoster } from '../../../src/membership/roster.ts'
import type { HeldStage } from '../../../src/run/stage-state.ts'
import { tinyRecovery, tinyRun } from '../../fixtures/swarm.ts'

const RUN = 'a'.repeat(64)
const clock = { now: () => 0, sleep: async () => {} }

interface Kept {
  readonly strategy: string
  readonly stage: number
  readonly step: number
}

/** A process of one peer on this disk. */
function processOn(store: MemoryStore, state: { kept?: Kept[]; lineage?: Lineage | null } = {}) {
  const entries: Entry[] = []
  const disk = new StageDisk({ store, pause: async () => {} })
  const facts = { norm: 1, updates: 3, learningRateScale: 1 }
  const upkeep = new DiskUpkeep({
    run: tinyRun({ recovery: tinyRecovery({ kept: { everySteps: 10 } }) }),
    runId: RUN,
    clock,
    journal: createJournal('p', () => 0, [(entry) => entries.push(entry)]),
    disk,
    lineage: () => (state.lineage === undefined ? FIRST : state.lineage),
    kept: () =>
      (state.kept ?? []).map((name) => {
        return { name: { ...name, shard: 0 }, facts, bytes: new Uint8Array(8) }
      }),
  })
  const held = (index: number): HeldStage => {
    const floats = () => new Float32Array(4).fill(index)
    const moments = { firstMoment: floats(), secondMoment: floats() }
    return { index, facts, stage: { weights: floats(), moments } } as unknown as HeldStage
  }
  const commit = async (stage: number | null, committed: number) => {
    upkeep.committed(stage === null ? null : held(stage), rosterOf(committed))
    await upkeep.settled()
  }
  const names = () =>
    disk.holdings.map(({ strategy, stage, step }) => `${strategy} ${stage} ${step}`).sort()
  return { upkeep, disk, entries, commit, names, state }
}

function rosterOf(committed: number): Roster {
  const founder = { peer: 'p', session: 1, addresses: ['/here'], domain: '' }
  return { ...foundingRoster(founder), committed, loss: 2 }
}

test('a holder writes after the first and after every tenth step, and has the last two', async () => {
  const { commit, names, entries } = processOn(new MemoryStore())
  for (let step = 1; step <= 35; step++) await commit(2, step)
  expect(names()).toEqual([`${KEPT} 2 20`, `${KEPT} 2 30`])
  const stored = entries.filter((entry) => entry.type === 'stored')
  expect(stored.map(({ step }) => step)).toEqual([1, 10, 20, 30])
})

test('a stage that moved away leaves after the new holder has had time to write it', async () => {
  const { commit, names } = processOn(new MemoryStore())
  await commit(2, 10)
  await commit(2, 20)
  await commit(null, 30)
  expect(names()).toEqual([`${KEPT} 2 20`])
  await commit(null, 40)
  expect(names()).toEqual([])
})

test('copies of others are as the keeper has them, and those of an earlier process stay for one interval', async () => {
  const store = new MemoryStore()
  const first = processOn(store, { kept: [{ strategy: 'shadow', stage: 4, step: 18 }] })
  await first.commit(2, 20)
  expect(first.names()).toEqual([`${KEPT} 2 20`, 'shadow 4 18'])
  first.state.kept = [{ strategy: 'shadow', stage: 4, step: 27 }]
  await first.commit(2, 30)
  expect(first.names()).toEqual([`${KEPT} 2 20`, `${KEPT} 2 30`, 'shadow 4 27'])
  const second = processOn(store)
  await second.disk.scanned
  await second.commit(2, 30)
  expect(second.names()).toContain('shadow 4 27')
  await second.commit(2, 40)
  expect(second.names()).not.toContain('shadow 4 27')
})

test('a rollback removes the states of the branch that was given up', async () => {
  const { commit, names, upkeep } = processOn(new MemoryStore())
  await commit(2, 10)
  await commit(2, 20)
  upkeep.forgetAfter(15)
  await upkeep.settled()
  expect(names()).toEqual([`${KEPT} 2 10`])
})

test('states of steps that the run has not made are of another branch, and leave', async () => {
  const store = new MemoryStore()
  await processOn(store).commit(2, 50)
  const second = processOn(store)
  await second.disk.scanned
  await second.commit(2, 20)
  expect(second.names()).toEqual([`${KEPT} 2 20`])
})

const second: Lineage = {
  record: { number: 1, ancestor: RUN, step: 10, roster: 'b'.repeat(64) },
  absent: [],
  branches: branchesBefore(RUN, FIRST, 10),
}
const third: Lineage = {
  record: { number: 2, ancestor: incarnationId(RUN, second.record), step: 30, roster: RUN },
  absent: [],
  branches: branchesBefore(incarnationId(RUN, second.record), second, 30),
}

test('states of the ancestor count up to the step at which an incarnation was founded', async () => {
  const store = new MemoryStore()
  const peer = processOn(store)
  await peer.commit(2, 10)
  await peer.commit(2, 20)
  peer.state.lineage = second
  expect(peer.upkeep.copies.map(({ step }) => step)).toEqual([10])
  await peer.commit(2, 20)
  expect(peer.upkeep.copies.map(({ step }) => step)).toEqual([10, 20])
  expect(peer.disk.holdings.map(({ run }) => run)).toEqual([RUN, incarnationId(RUN, second.record)])
})

test('a process that was started again finds its history, its members and its states', async () => {
  const store = new MemoryStore()
  const first = processOn(store, {
    lineage: second,
    kept: [{ strategy: 'shadow', stage: 4, step: 27 }],
  })
  await first.commit(2, 20)
  await first.commit(2, 30)
  const { upkeep } = processOn(store, { lineage: null })
  await upkeep.scanned
  const { history, holdings } = upkeep.offer()
  expect(history).toMatchObject({
    branches: branchesOf(RUN, second),
    lineage: second,
    roster: { committed: 30, members: [{ peer: 'p', addresses: ['/here'] }] },
  })
  expect(holdings).toMatchObject([
    { strategy: KEPT, stage: 2, step: 20, loss: 2 },
    { strategy: 'shadow', stage: 4, step: 27, loss: null },
    { strategy: KEPT, stage: 2, step: 30, loss: 2 },
  ])
  const { upkeep: fresh } = processOn(new MemoryStore(), { lineage: null })
  await fresh.scanned
  expect(fresh.offer()).toEqual({ history: null, holdings: [] })
})

test('after the run nothing is left', async () => {
  const store = new MemoryStore()
  const { commit, upkeep } = processOn(store)
  await commit(2, 10)
  await upkeep.clear()
  expect([...store.files.keys()]).toEqual([])
})

test('a history has the branches before as far as they belong to it', () => {
  const [a, b, c] = [RUN, incarnationId(RUN, second.record), incarnationId(RUN, third.record)]
  expect(branchesOf(RUN, FIRST)).toEqual([{ id: a, until: null }])
  expect(branchesOf(RUN, second)).toEqual([
    { id: a, until: 10 },
    { id: b, until: null },
  ])
  expect(branchesOf(RUN, third)).toEqual([
    { id: a, until: 10 },
    { id: b, until: 30 },
    { id: c, until: null },
  ])
  // The second incarnation went back to step 5 before the third was founded: it made other steps 6 to 10.
  const back = { ...third, record: { ...third.record!, step: 5 } }
  const branches = branchesBefore(b, second, 5)
  expect(branchesOf(RUN, { ...back, branches }).map(({ until }) => until)).toEqual([5, null])
})
