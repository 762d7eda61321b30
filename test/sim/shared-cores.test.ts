/** A swarm whose peers share the cores of one machine is slower, with otherwise the same results. */
import { expect, test } from 'vitest'
import { DEFAULT_COSTS, play, type Scenario } from '../../sim/scenario.ts'
import type { Entry } from '../../src/base/journal.ts'
import { entriesOf, tinyCorpus, tinyRun } from '../fixtures/swarm.ts'

const corpus = tinyCorpus()
const STEPS = 4
const MESSAGE = { each: 2, perMegabyte: 0 }

async function entries(overrides: Partial<Scenario> = {}): Promise<readonly Entry[]> {
  const { entries } = await play({
    run: tinyRun({ steps: STEPS }),
    corpus,
    spares: 0,
    deaths: [],
    replaced: false,
    link: { latencyMs: 0.1, bytesPerMs: 1e6 },
    costMs: DEFAULT_COSTS,
    limitMs: 600_000,
    ...overrides,
  })
  return entries
}

function secondsAStep(entries: readonly Entry[]): number {
  const at = entriesOf(entries, 'step').map((step) => step.at)
  return (at.at(-1)! - at[0]!) / 1000 / (at.length - 1)
}

const losses = (entries: readonly Entry[]) => entriesOf(entries, 'step').map(({ loss }) => loss)

test('with cores for everyone it takes no longer than with machines of their own', async () => {
  const alone = await entries()
  const shared = await entries({ cores: 64 })
  expect(secondsAStep(shared)).toBeCloseTo(secondsAStep(alone), 6)
  expect(losses(shared)).toEqual(losses(alone))
})

test('on one core a step takes the time of all its work, and learns the same', async () => {
  const alone = await entries()
  const shared = await entries({ cores: 1 })
  const { stages, microbatches } = tinyRun()
  const { forward, backward, embed, embedBackward, lossAndGradient } = DEFAULT_COSTS
  const body = stages * (forward + backward)
  const ends = embed + embedBackward + lossAndGradient
  const { gradientNorm, update, zeroGradients } = DEFAULT_COSTS
  const closing = (stages + 1) * (gradientNorm + update + zeroGradients)
  const work = microbatches * (body + ends) + closing
  expect(1000 * secondsAStep(shared)).toBeGreaterThan(0.97 * work)
  expect(1000 * secondsAStep(shared)).toBeLessThan(1.1 * work)
  expect(losses(shared)).toEqual(losses(alone))
})

test('messages take their time of the processor', async () => {
  const free = secondsAStep(await entries({ cores: 1 }))
  const charged = secondsAStep(await entries({ cores: 1, messageMs: MESSAGE }))
  const { stages, microbatches } = tinyRun()
  // The bound counts the microbatches alone: a question and its answer for each hop, at both ends.
  const least = (2 * (stages + 1) * microbatches * 4 * MESSAGE.each) / 1000
  expect(charged - free).toBeGreaterThan(0.9 * least)
  expect(charged - free).toBeLessThan(2 * least)
})

test('a lost stage comes back; the same settings give the same journal', async () => {
  const settings: Partial<Scenario> = {
    cores: 2,
    messageMs: MESSAGE,
    spares: 1,
    deaths: [{ stage: 2, step: 2 }],
  }
  const [first, second] = [await entries(settings), await entries(settings)]
  expect(entriesOf(first, 'held').filter(({ cause }) => cause === 'lost')).toMatchObject([
    { stage: 2, strategy: 'checkfree' },
  ])
  expect(losses(first)).toHaveLength(STEPS)
  expect(second).toEqual(first)
})
