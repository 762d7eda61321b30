/** Which members keep copies of a stage, and which copies are used. */
import { describe, expect, test } from 'vitest'
import type { Member } from '../../../protocols/membership.ts'
import { foundingRoster } from '../../../src/membership/roster.ts'
import { choose, STRATEGIES } from '../../../src/recovery/index.ts'
import type { KeptCopy } from '../../../src/recovery/strategy.ts'
import { tinyRecovery } from '../../fixtures/swarm.ts'

const settings = tinyRecovery()

describe('copies', () => {
  const shards = (step: number, ...numbers: number[]): KeptCopy[] =>
    numbers.map((shard) => ({ peer: `p${shard}`, strategy: 'snapshot', stage: 3, step, shard }))
  const chosen = (copies: KeptCopy[]) =>
    STRATEGIES.get('snapshot')!.donors(
      {
        stage: 3,
        bodyStages: 6,
        live: new Set(),
        copies,
        committed: 9,
        noCheckpoint: null,
        isLastResort: false,
      },
      settings,
    )

  test('snapshot takes the latest step of which enough shards remain', () => {
    expect(chosen([...shards(8, 2), ...shards(4, 0, 2)])).toEqual([
      { stage: 3, copies: shards(4, 0, 2) },
    ])
    expect(chosen([...shards(8, 1), ...shards(4, 2)])).toEqual({
      reason: 'fewer than 2 shards of any copy of stage 3 are left',
    })
  })

  const member = (id: number, stage: number | null, domain = '') => ({
    ...{ id, peer: `p${id}`, session: 0, addresses: [], domain, host: '', stage, ready: true },
  })
  const keepersIn = (members: readonly Member[], stage: number) => {
    const roster = { ...foundingRoster({ ...members[0]! }), members: [...members] }
    return STRATEGIES.get('shadow')!.copies!(settings, 6).keepers(roster, stage)
  }

  test("a stage's keepers are half a pipeline away, and in another failure domain if possible", () => {
    const members = Array.from({ length: 7 }, (_, stage) =>
      member(stage, stage, stage === 3 || stage === 6 ? 'one host' : `host ${stage}`),
    )
    const keepers = (stage: number) => keepersIn(members, stage).map((each) => each.stage)
    expect([0, 1, 2, 4].map(keepers)).toEqual([
      [3, 4, 2],
      [4, 5],
      [5, 6],
      [0, 1],
    ])
    // Stage 6 is the farthest, but is in the failure domain of stage 3.
    expect(keepers(3)).toEqual([0, 5])
    const roster = { ...foundingRoster({ ...members[0]! }), members }
    const snapshot = STRATEGIES.get('snapshot')!.copies!(settings, 6).keepers(roster, 1)
    expect(new Set(snapshot.map(({ id }) => id)).size).toBe(3)
    expect(snapshot.some(({ stage }) => stage === 1)).toBe(false)
  })

  test('no two keepers of a stage share a failure domain while there is another one', () => {
    const hosts = ['a', 'b', 'b', 'b', 'b', 'c', 'a']
    const members = hosts.map((host, stage) => member(stage, stage, host))
    expect(keepersIn(members, 0).map(({ domain }) => domain)).toEqual(['b', 'c', 'b'])
    expect(keepersIn([...members, member(7, null, 'd')], 0).map(({ domain }) => domain)).toEqual([
      ...['b', 'd', 'c'],
    ])
  })

  test('spares keep copies too, and those of other spares stay where they are when one goes', () => {
    const holders = Array.from({ length: 7 }, (_, stage) => member(stage, stage))
    const spares = Array.from({ length: 9 }, (_, i) => member(7 + i, null))
    const spareOf = (stage: number, left: readonly Member[]) =>
      keepersIn([...holders, ...left], stage).find((each) => each.stage === null)!.id
    const stages = [0, 1, 2, 3, 4, 5, 6]
    const before = stages.map((stage) => spareOf(stage, spares))
    expect(new Set(before).size).toBeGreaterThan(3)
    for (const gone of spares) {
      const left = spares.filter((each) => each !== gone)
      for (const stage of stages.filter((each) => before[each] !== gone.id)) {
        expect(spareOf(stage, left)).toBe(before[stage])
      }
    }
  })

  test('an old copy gives way to the next strategy, and is used where no strategy works without it', () => {
    const policy = ['shadow', 'checkfree', 'copy', 'random']
    const rule = STRATEGIES.get('shadow')!.copies!(settings, 6)
    const plan = (stage: number, step: number) => {
      const copies = [{ peer: 'p', strategy: 'shadow', stage, step, shard: 0 }]
      const live = new Set([0, 1, 2, 3, 4, 5, 6].filter((other) => other !== stage))
      const loss = { stage, bodyStages: 6, live, copies, committed: 5000, noCheckpoint: null }
      const { chosen, skipped } = choose(policy, loss, settings)
      return [chosen?.strategy.name, skipped[0]?.reason]
    }
    expect(plan(3, 5000 - rule.maxAge(3))).toEqual(['shadow', undefined])
    expect(plan(3, 100)).toEqual([
      'checkfree',
      `the latest copy of stage 3 is 4900 steps old, more than ${rule.maxAge(3)}`,
    ])
    // Only a copy brings the ends back.
    expect(plan(0, 100)).toEqual(['shadow', expect.stringContaining('4900 steps old')])
  })
})
