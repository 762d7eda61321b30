/** Laws of the strategies (arXiv 2506.15461, section 4.2), on random weights. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { choose, STRATEGIES } from '../../../src/recovery/index.ts'
import type { KeptCopy, Source } from '../../../src/recovery/strategy.ts'
import { tinyRecovery } from '../../fixtures/swarm.ts'

const initial = {
  weights: Float32Array.of(9, 9, 9),
  redraw: () => Float32Array.of(8, 8, 8),
}
const settings = tinyRecovery()
const checkfree = STRATEGIES.get('checkfree')!

const nothing = { learningRateScale: 1, optimizer: null, isCopy: false }

function sources(a: number[], b: number[], normA: number | null, normB: number | null): Source[] {
  return [
    { ...nothing, stage: 1, weights: Float32Array.from(a), norm: normA },
    { ...nothing, stage: 3, weights: Float32Array.from(b), norm: normB },
  ]
}

// Positive weights, so that sums do not cancel and a relative bound is meaningful.
const vector = fc.array(fc.integer({ min: 1, max: 1000 }), { minLength: 3, maxLength: 3 })
const norm = fc.float({ noNaN: true, min: Math.fround(0.001), max: 1000 })

describe('checkfree', () => {
  test('equal norms give the mean', () => {
    fc.assert(
      fc.property(vector, vector, norm, (a, b, n) => {
        const { weights } = checkfree.rebuild(sources(a, b, n, n), initial, settings)
        expect(weights).toBeAllclose(
          a.map((x, i) => (x + b[i]!) / 2),
          { relative: 1e-6 },
        )
      }),
    )
  })

  test.each([0, 1, 2])(
    'norms (a, b) at exponent %i give (a^e W- + b^e W+) / (a^e + b^e)',
    (normExponent) => {
      fc.assert(
        fc.property(vector, vector, norm, norm, (a, b, na, nb) => {
          const rebuilt = checkfree.rebuild(sources(a, b, na, nb), initial, {
            ...settings,
            normExponent,
          })
          const [wa, wb] = [na ** normExponent, nb ** normExponent]
          expect(rebuilt.weights).toBeAllclose(
            a.map((x, i) => (wa * x + wb * b[i]!) / (wa + wb)),
            // The bound is relative to the magnitude of the inputs, not to that of the average.
            {
              relative:
                1e-6 *
                (200 /
                  Math.max(1e-6, ...a.map((x, i) => Math.abs((wa * x + wb * b[i]!) / (wa + wb))))),
            },
          )
          expect(rebuilt.learningRateScale).toBe(1.1)
          expect(rebuilt.norms).toEqual([na, nb])
        }),
      )
    },
  )

  test('neighbours without a norm, or with a norm of zero, weigh the same', () => {
    for (const [na, nb] of [
      [null, null],
      [0, 0],
    ] as const) {
      const { weights } = checkfree.rebuild(
        sources([0, 2, 4], [2, 2, 0], na, nb),
        initial,
        settings,
      )
      expect([...weights]).toEqual([1, 2, 2])
    }
  })
})

test("copy gives the donor's exact weights; random gives the initial weights or redrawn ones", () => {
  const [donor] = sources([1, 2, 3], [0, 0, 0], 5, 5)
  const copied = STRATEGIES.get('copy')!.rebuild([donor!], initial, settings)
  expect([...copied.weights]).toEqual([1, 2, 3])
  const random = STRATEGIES.get('random')!
  expect([...random.rebuild([], initial, settings).weights]).toEqual([9, 9, 9])
  const redrawn = random.rebuild([], initial, { ...settings, redraw: true })
  expect([...redrawn.weights]).toEqual([8, 8, 8])
})

describe('the policy', () => {
  const policy = ['checkfree', 'copy', 'random']
  const all = [0, 1, 2, 3, 4, 5, 6]
  const chosenFor = (stage: number, lost: number[]) => {
    const live = new Set(all.filter((other) => !lost.includes(other)))
    const { chosen, skipped } = choose(
      policy,
      { stage, bodyStages: 6, live, copies: [], committed: 9, noCheckpoint: null },
      settings,
    )
    return [chosen?.strategy.name, chosen?.donors.map((origin) => origin.stage), skipped.length]
  }

  test.each([
    ['a middle stage', 3, [3], ['checkfree', [2, 4], 0]],
    ['the first body stage', 1, [1], ['copy', [2], 1]],
    ['the last body stage', 6, [6], ['copy', [5], 1]],
    ['the left of two adjacent losses', 3, [3, 4], ['copy', [2], 1]],
    ['the right of two adjacent losses', 4, [3, 4], ['copy', [5], 1]],
    ['a stage between two lost ones', 3, [2, 3, 4], ['random', [], 2]],
    ['the ends', 0, [0], [undefined, undefined, 3]],
  ])('chooses the first strategy that can restore %s', (_, stage, lost, expected) => {
    expect(chosenFor(stage, lost)).toEqual(expected)
  })

  test('gives the reason for each strategy that it skips', () => {
    const live = new Set([0, 1, 2, 5, 6])
    const { skipped } = choose(
      policy,
      { stage: 3, bodyStages: 6, live, copies: [], committed: 9, noCheckpoint: null },
      settings,
    )
    expect(skipped).toEqual([
      { strategy: 'checkfree', reason: 'its neighbour stage 4 is lost too' },
    ])
  })
})

describe('options of checkfree beside Algorithm 1', () => {
  const state = (updates: number, ...moments: number[]) => ({
    firstMoment: Float32Array.from(moments),
    secondMoment: Float32Array.from(moments, (x) => x * x),
    updates,
  })

  test("moments are averaged like the weights, with the smaller of the neighbours' update counts", () => {
    const [a, b] = sources([1, 1, 1], [3, 3, 3], 1, 3)
    const [stateA, stateB] = [state(7, 4, 4, 4), state(5, 8, 0, -4)]
    const { weights, optimizer } = checkfree.rebuild(
      [
        { ...a!, optimizer: stateA },
        { ...b!, optimizer: stateB },
      ],
      initial,
      settings,
    )
    expect([...weights]).toEqual([2.5, 2.5, 2.5])
    expect([...optimizer!.firstMoment]).toEqual([7, 1, -2])
    expect([...optimizer!.secondMoment]).toEqual([52, 4, 16])
    expect(optimizer!.updates).toBe(5)
  })

  test('the optimizer starts with moments of zero unless the run averages them', () => {
    expect(checkfree.moments!(settings)).toBe(false)
    expect(checkfree.moments!({ ...settings, moments: 'averaged' })).toBe(true)
    const { optimizer } = checkfree.rebuild(
      sources([1, 1, 1], [2, 2, 2], 1, 1),
      initial,
      settings,
    ) as { optimizer?: unknown }
    expect(optimizer).toBeUndefined()
  })

  test('uniform gives the plain mean for any norms', () => {
    const { weights } = STRATEGIES.get('uniform')!.rebuild(
      sources([1, 2, 3], [3, 2, 1], 1, 100),
      initial,
      settings,
    )
    expect([...weights]).toEqual([2, 2, 2])
  })
})

describe('checkfree+', () => {
  const plus = STRATEGIES.get('checkfree+')!
  const donors = (stage: number, lost: number[], copies: KeptCopy[] = []) => {
    const live = new Set([0, 1, 2, 3, 4, 5, 6].filter((other) => !lost.includes(other)))
    return plus.donors(
      { stage, bodyStages: 6, live, copies, committed: 9, noCheckpoint: null, isLastResort: false },
      settings,
    )
  }
  const kept = (peer: string, step: number): KeptCopy => ({
    peer,
    step,
    strategy: 'checkfree+',
    stage: 0,
    shard: 0,
  })

  test('copies a lost first or last body stage from its twin, and averages any other body stage', () => {
    expect(donors(1, [1])).toEqual([{ stage: 2 }])
    expect(donors(6, [6])).toEqual([{ stage: 5 }])
    expect(donors(3, [3])).toEqual([{ stage: 2 }, { stage: 4 }])
    const [twin] = sources([1, 2, 3], [0, 0, 0], 5, 5)
    const { weights } = plus.rebuild([twin!], initial, settings)
    expect(weights).toEqual(twin!.weights)
  })

  test('gives the reason if the twin or a neighbour is lost, too', () => {
    expect(donors(1, [1, 2])).toEqual({ reason: 'its twin, stage 2, is lost too' })
    expect(donors(3, [3, 4])).toEqual({ reason: 'its neighbour stage 4 is lost too' })
  })

  test('restores the ends exactly from the latest copy of their weights', () => {
    const old = kept('a', 11)
    const [first, second] = [kept('a', 12), kept('b', 12)]
    expect(donors(0, [0], [old, first, second])).toEqual([
      { stage: 0, copies: [first, second, old] },
    ])
    expect(donors(0, [0])).toEqual({ reason: 'no remaining member keeps a copy of stage 0' })
    const weights = Float32Array.of(1, 2, 3)
    const source = { ...nothing, stage: 0, weights, norm: 2, learningRateScale: 1.1, isCopy: true }
    const rebuilt = plus.rebuild([source], initial, settings)
    expect(rebuilt.weights).toBe(weights)
    expect(rebuilt).toMatchObject({ learningRateScale: 1.1, norm: 2 })
  })

  test('needs two pairs of body stages to swap', () => {
    expect(plus.refusal!(settings, 4)).toBeNull()
    expect(plus.refusal!(settings, 3)).toMatch(/4 or more are needed, not 3/)
  })
})

describe('redundant', () => {
  const redundant = STRATEGIES.get('redundant')!
  const kept = (stage: number, step: number): KeptCopy => ({
    peer: `before ${stage}`,
    strategy: 'redundant',
    stage,
    step,
    shard: 0,
  })
  const donors = (copies: KeptCopy[]) =>
    redundant.donors(
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

  test('takes the state of the last committed step from the understudy, and no earlier state', () => {
    expect(donors([kept(2, 9), kept(3, 9)])).toEqual([{ stage: 3, understudies: ['before 3'] }])
    expect(donors([kept(3, 8)])).toEqual({
      reason: 'the understudy of stage 3 has missed step 9',
    })
    expect(donors([kept(2, 9)])).toEqual({
      reason: 'no remaining member is an understudy of stage 3',
    })
  })

  test('restores weights, moments, norm and learning rate scale exactly', () => {
    const optimizer = {
      firstMoment: Float32Array.of(1, 2, 3),
      secondMoment: Float32Array.of(4, 5, 6),
      updates: 9,
    }
    const weights = Float32Array.of(7, 8, 9)
    const facts = { stage: 3, norm: 2, learningRateScale: 1.1, isCopy: false }
    const rebuilt = redundant.rebuild([{ ...facts, weights, optimizer }], initial, settings)
    expect(rebuilt.weights).toBe(weights)
    expect(rebuilt).toMatchObject({ norm: 2, learningRateScale: 1.1, optimizer })
    expect(redundant.moments!(settings)).toBe(true)
  })
})
