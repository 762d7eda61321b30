/** The step from which a swarm returns, against an exhaustive search over drawn offers. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { KEPT } from '../../../protocols/copies.ts'
import { isOfLineage, type Offer, returnStep } from '../../../src/recovery/return-step.ts'
import { tinyRecovery, tinyRun } from '../../fixtures/swarm.ts'

const STAGES = 3
const EVERY = 10
const stages = [0, 1, 2, 3]

const SHADOW = {
  ...tinyRecovery().shadow,
  ...{ everySteps: 5, keepers: 2, endsEverySteps: 5, endsKeepers: 2 },
}

const run = tinyRun({
  stages: STAGES,
  recovery: tinyRecovery({
    policy: ['shadow', 'checkfree'],
    kept: { everySteps: EVERY },
    shadow: SHADOW,
  }),
})

/** Ages up to which states count as recent: two intervals, or one for each keeper and one more. */
const MAX_AGE: Record<string, number> = { [KEPT]: 2 * EVERY, shadow: 15 }

const offers: fc.Arbitrary<Offer[]> = fc.array(
  fc.record({
    peer: fc.constantFrom('a', 'b', 'c', 'd'),
    strategy: fc.constantFrom(KEPT, KEPT, KEPT, 'shadow'),
    stage: fc.constantFrom(...stages),
    step: fc.constantFrom(10, 20, 30, 40, 70),
    shard: fc.constant(0),
    run: fc.constant('r'),
    loss: fc.constant(1),
  }),
  { minLength: 1, maxLength: 14 },
)

/** What a step loses, and how late it is: the earlier numbers count more, and less is better. */
function costOf(step: number, all: readonly Offer[]): number[] {
  const own = (stage: number) => all.filter((each) => each.stage === stage && each.step <= step)
  const isExact = (stage: number) =>
    own(stage).some((each) => each.strategy === KEPT && each.step === step)
  const isLeft = (stage: number) =>
    own(stage).some(({ strategy, step: of }) => step - of <= MAX_AGE[strategy]!)
  const missing = stages.filter((stage) => !isLeft(stage))
  // Only the stage in the middle has two neighbours of its shape. An old state is better than none.
  const averaged = (stage: number) => stage === 2 && isLeft(1) && isLeft(3)
  const refused = missing.filter((stage) => !averaged(stage) && own(stage).length === 0)
  return [refused.length, missing.length, stages.filter((s) => !isExact(s)).length, -step]
}

function compare(a: readonly number[], b: readonly number[]): number {
  const i = a.findIndex((value, at) => value !== b[at])
  return i < 0 ? 0 : a[i]! - b[i]!
}

test('the decided step loses least, and the result says what is missing', () => {
  fc.assert(
    fc.property(offers, (all) => {
      const costs = [...new Set(all.map(({ step }) => step))].map((step) => costOf(step, all))
      const best = costs.sort(compare)[0]!
      const found = returnStep(run, all)!
      const { refused, missing, exact, step } = found
      expect([refused.length, missing.length, stages.length - exact.length, -step]).toEqual(best)
    }),
    { numRuns: 2_000 },
  )
})

test('the order of the offers does not matter', () => {
  fc.assert(
    fc.property(offers, fc.infiniteStream(fc.nat()), (all, keys) => {
      const order = all.map((offer) => ({ offer, key: keys.next().value }))
      const shuffled = order.sort((a, b) => a.key - b.key).map(({ offer }) => offer)
      expect(returnStep(run, shuffled)).toEqual(returnStep(run, all))
    }),
  )
})

const offer = (stage: number, step: number, peer = 'a'): Offer => {
  return { peer, strategy: KEPT, stage, step, shard: 0, run: 'r', loss: step / 10 }
}

test('the newest step of which every stage is left comes first, also if most have a later one', () => {
  const all = stages.flatMap((stage) => [
    offer(stage, 20),
    ...(stage === 2 ? [] : [offer(stage, 30)]),
  ])
  expect(returnStep(run, all)).toEqual({
    step: 20,
    loss: 2,
    exact: stages,
    missing: [],
    refused: [],
  })
})

test('without any offer there is no step', () => {
  expect(returnStep(run, [])).toBeNull()
})

test('ends that are on no disk are refused with the reason of each strategy', () => {
  const found = returnStep(
    run,
    [1, 2, 3].map((stage) => offer(stage, 20)),
  )!
  expect(found.refused).toHaveLength(1)
  expect(found.refused[0]).toMatch(
    /^stage 0 \(shadow: .*; kept: stage 0 is on the disk of no member; checkfree: /,
  )
})

test('a state belongs to a lineage up to the step at which its branch was left', () => {
  const lineage = [
    { id: 'r', until: 20 },
    { id: 's', until: null },
  ]
  const of = (id: string, step: number) => isOfLineage(lineage, { ...offer(1, step), run: id })
  expect([of('r', 20), of('r', 30), of('s', 30), of('t', 20)]).toEqual([true, false, true, false])
})
