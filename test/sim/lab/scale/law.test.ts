/** Compares how often stages are emptied with the closed form, and checks which settings the model refuses. */
import { expect, test } from 'vitest'
import type { Loss } from '../../../../sim/lab/failures/loss.ts'
import { settingOf } from '../../../../sim/lab/scale/compare.ts'
import { exponentialLosses } from '../../../../sim/lab/scale/lifetimes.ts'
import { playScale } from '../../../../sim/lab/scale/play.ts'
import { type ScaleSetting, sizesOf } from '../../../../sim/lab/scale/setting.ts'

const STAGES = 10
const HOLDERS = 2
/** Hourly rate at which a peer is lost. */
const RATE = 1
/** Hours from a loss until the replacement asks to be let in. */
const REPLACED_HOURS = 0.08

function setting(hours: number, overrides: Partial<ScaleSetting> = {}, stages = 10): ScaleSetting {
  const peers = HOLDERS * (stages + 1)
  const compared = {
    peers,
    stages: STAGES,
    spares: 0,
    microbatches: 1,
    policy: ['shadow', 'checkpoint'],
    hours,
    losses: exponentialLosses({ peers, hours, hourly: RATE }, 1),
    speeds: [0.04],
    bodyScale: 1,
  }
  const base = settingOf(compared)
  const checkpoint = { everySteps: 1, mode: 'lazy' } as const
  return {
    ...base,
    costMs: { ...base.costMs, build: 1 },
    run: { ...base.run, recovery: { ...base.run.recovery, checkpoint } },
    replacementSeconds: REPLACED_HOURS * 3600,
    ...overrides,
  }
}

/**
 * Counts how often a stage loses its last holder, without the model. A lost peer returns after a fixed time. The peer then
 * takes the stage with the fewest holders; among equal stages it takes the first one.
 */
function emptyings(losses: readonly Loss[], stages: number, awayHours: number): number {
  const held = new Array<number>(stages + 1).fill(HOLDERS)
  const stageOf = Array.from({ length: HOLDERS * held.length }, (_, slot) => slot % held.length)
  const coming: { readonly hours: number; readonly slot: number }[] = []
  let count = 0
  for (const loss of losses) {
    if (!('slot' in loss)) continue
    while (coming.length > 0 && coming[0]!.hours <= loss.hours) {
      const { slot } = coming.shift()!
      stageOf[slot] = held.indexOf(Math.min(...held))
      held[stageOf[slot]!]!++
    }
    if (coming.some(({ slot }) => slot === loss.slot)) continue
    const stage = stageOf[loss.slot]!
    held[stage]!--
    if (held[stage] === 0) count++
    coming.push({ hours: loss.hours + awayHours, slot: loss.slot })
  }
  return count
}

const AWAY_HOURS = 0.05

test('alone, a stage of n holders is emptied as often as a birth-death chain says', () => {
  const hours = 100_000
  const losses = exponentialLosses({ peers: HOLDERS * 2, hours, hourly: RATE }, 1)
  // Holders come and go independently (machine repair). Only the mean of the time away matters.
  const up = 1 / (1 + RATE * AWAY_HOURS)
  const expected = 2 * hours * RATE * HOLDERS * up * (1 - up) ** (HOLDERS - 1)
  const count = emptyings(losses, 1, AWAY_HOURS)
  // With two stages, both rarely need the same newcomer.
  expect(count / expected).toBeGreaterThan(0.95)
  expect(count / expected).toBeLessThan(1.05)
})

test('in the model stages are emptied as often as alone, under the same losses', () => {
  const hours = 60
  const played = setting(hours)
  const { trial, undisturbedSeconds } = playScale(played)
  expect(trial.failure).toBeNull()
  // A newcomer waits for one step to be let in, for one to be named, and for one to take part.
  const away = REPLACED_HOURS + (2.5 * undisturbedSeconds) / 3600
  const count = emptyings(played.losses, STAGES, away)
  expect(count).toBeGreaterThan(50)
  // Three standard deviations of a count of about a hundred independent events.
  expect(trial.losses.length / count).toBeGreaterThan(0.7)
  expect(trial.losses.length / count).toBeLessThan(1.3)
})

test('the same setting gives the same trial', () => {
  const one = playScale(setting(2))
  expect(playScale(setting(2))).toEqual(one)
  expect(one.trial.iterations).toBeGreaterThan(0)
})

test('without a strategy the run ends with the first stage that is lost', () => {
  const { run } = setting(2)
  const policy: string[] = []
  const none = { ...run, recovery: { ...run.recovery, policy } }
  const losses = [{ hours: 0.5, stage: 3 }]
  const { trial } = playScale(setting(2, { run: none, losses }))
  expect(trial.failure).toMatch(/stage 3 is lost/)
  expect(trial.hours).toBeLessThan(0.51)
  expect(trial.goodput).toBeLessThan(0.26)
})

test('a recorded curve comes as late as the iterations do', () => {
  const losses = [{ hours: 0.1, stage: 3 }]
  const undisturbed = [
    [1, 5],
    [5, 4],
  ] as const
  const { trial } = playScale(setting(1, { losses, undisturbed }))
  expect(trial.curve.map(([iterations, , loss]) => [iterations, loss])).toEqual([
    [1, 5],
    [5, 4],
  ])
})

test.each<[string, Partial<ScaleSetting>, RegExp]>([
  ['too few peers', { peers: 5 }, /peers: 5\. 10 body stages and the ends need 11/],
  ['no time', { hours: 0 }, /hours: 0/],
  ['a speed of nothing', { speeds: [1, 0] }, /speeds: /],
  ['a loss of nobody', { losses: [{ hours: 1, slot: 99 }] }, /slot 99 of 22/],
  ['a loss of no stage', { losses: [{ hours: 1, stage: 11 }] }, /stage 11; stages are 0\.\.10/],
  [
    'regions without a link',
    {
      network: {
        regions: ['a', 'b'],
        within: { latencyMs: 1, mbitPerSecond: 1 },
        between: [],
      },
    },
    /no link between a and b/,
  ],
])('%s is refused', (_, wrong, message) => {
  expect(() => playScale(setting(2, wrong))).toThrow(message)
})

test("a run's own sizes are those of its model", () => {
  const { run } = setting(1)
  const { hiddenSize } = run.model
  const { batch, context } = run.microbatch
  const sizes = sizesOf({ ...run, wire: 'float32' })
  expect(sizes.activationBytes).toBe(4 * batch * context * hiddenSize)
  // A layer has attention, three matrices of the feed-forward part and two norms. The ends have embedding, head and norm.
  const layer = 4 * hiddenSize ** 2 + 3 * hiddenSize * run.model.intermediateSize + 2 * hiddenSize
  expect(sizes.bodyElements).toBe(layer)
  expect(sizes.endsElements).toBe(2 * run.model.vocabSize * hiddenSize + hiddenSize)
})
