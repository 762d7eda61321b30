/** The requirements for every row of the table of strategies. strategies.test.ts has the laws of single strategies. */
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { drawCase } from '../../../sim/fuzz/case.ts'
import { STRATEGY_NAMES, strategyOf } from '../../../sim/lab/strategies.ts'
import { RECOVERY_NAMES, STRATEGIES } from '../../../src/recovery/index.ts'
import type { Loss, Origin, Source } from '../../../src/recovery/strategy.ts'
import { tinyRecovery } from '../../fixtures/swarm.ts'

const BODY_STAGES = 6
const COMMITTED = 9
const FUZZ_SEEDS = 300

/** The row `checkpoint` reads a store where the others rebuild a stage from donors. */
const REBUILT_FROM_A_STORE = ['checkpoint']

const settings = tinyRecovery()
const stages = Array.from({ length: BODY_STAGES + 1 }, (_, stage) => stage)
const read = (path: string) => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8')

/** A lost stage, the stages that are left, and copies in the memory of `strategy`'s keepers. */
function losses(strategy: string): fc.Arbitrary<Loss> {
  const copy = fc.record({
    peer: fc.constantFrom('a', 'b', 'c'),
    strategy: fc.constantFrom(strategy, 'another'),
    stage: fc.integer({ min: 0, max: BODY_STAGES }),
    step: fc.integer({ min: COMMITTED - 2, max: COMMITTED }),
    shard: fc.integer({ min: 0, max: 2 }),
  })
  return fc
    .record({
      stage: fc.integer({ min: 0, max: BODY_STAGES }),
      left: fc.subarray(stages),
      noCheckpoint: fc.constantFrom(null, 'no store was named'),
      isLastResort: fc.boolean(),
      copies: fc.array(copy, { maxLength: 12 }),
    })
    .map(({ stage, left, ...found }) => ({
      ...found,
      stage,
      live: new Set(left.filter((other) => other !== stage)),
      bodyStages: BODY_STAGES,
      committed: COMMITTED,
    }))
}

/** The state that a donor of this origin would give. */
function sourceOf({ stage, copies }: Origin): Source {
  const moments = { firstMoment: Float32Array.of(1, 2), secondMoment: Float32Array.of(3, 4) }
  return {
    stage,
    weights: Float32Array.of(stage + 1, stage + 2),
    norm: stage + 1,
    learningRateScale: 1,
    optimizer: { ...moments, updates: 5 },
    isCopy: copies !== undefined,
  }
}

describe.each(RECOVERY_NAMES)('%s', (name) => {
  const strategy = STRATEGIES.get(name)!

  test('asks only members that are left and have the state, or says why it cannot work', () => {
    fc.assert(
      fc.property(losses(name), (loss) => {
        const donors = strategy.donors(loss, settings)
        if ('reason' in donors) {
          expect(donors.reason).not.toBe('')
          return
        }
        for (const { stage, copies, understudies } of donors) {
          if (copies === undefined && understudies === undefined) {
            expect(loss.live.has(stage)).toBe(true)
          }
          for (const copy of copies ?? []) {
            expect(loss.copies).toContain(copy)
            expect([copy.strategy, copy.stage]).toEqual([name, stage])
          }
          const keepers = loss.copies.filter((copy) => copy.stage === stage)
          expect(keepers.map(({ peer }) => peer)).toEqual(
            expect.arrayContaining([...(understudies ?? [])]),
          )
        }
      }),
    )
  })

  test('brings some stage back', () => {
    const found = fc.sample(losses(name), { numRuns: 500, seed: 1 }).some((loss) => {
      return !('reason' in strategy.donors(loss, settings))
    })
    expect(found).toBe(true)
  })

  test('stands in ARCHITECTURE.md and in the figures of STRATEGIES.md', () => {
    for (const page of ['docs/ARCHITECTURE.md', 'docs/STRATEGIES.md']) {
      expect(read(page), page).toContain(`\n| \`${name}\` |`)
    }
  })

  test('comes first in a strategy of the laboratory', () => {
    const first = STRATEGY_NAMES.map((each) => strategyOf(each).recovery.policy?.[0])
    expect(first).toContain(name)
  })

  test('comes first in the policy of some fuzz case', () => {
    const seeds = Array.from({ length: FUZZ_SEEDS }, (_, seed) => seed)
    expect(seeds.some((seed) => drawCase(seed).run.recovery.policy[0] === name)).toBe(true)
  })
})

describe.each(RECOVERY_NAMES.filter((name) => !REBUILT_FROM_A_STORE.includes(name)))(
  '%s',
  (name) => {
    const strategy = STRATEGIES.get(name)!

    test('makes weights of the right shape', () => {
      const initial = {
        weights: Float32Array.of(9, 9),
        redraw: () => Float32Array.of(8, 8),
      }
      fc.assert(
        fc.property(losses(name), (loss) => {
          const donors = strategy.donors(loss, settings)
          if ('reason' in donors) return
          const { weights, norms, learningRateScale } = strategy.rebuild(
            donors.map(sourceOf),
            initial,
            settings,
          )
          expect(weights).toHaveLength(2)
          expect([...weights, ...norms].every(Number.isFinite)).toBe(true)
          expect(learningRateScale).toBeGreaterThan(0)
        }),
      )
    })
  },
)
