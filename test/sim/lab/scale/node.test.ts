/** Compares the model with the node's own code, for the same losses at the same virtual times. */
import { expect, test } from 'vitest'
import { type Compared, compare } from '../../../../sim/lab/scale/compare.ts'
import { exponentialLosses } from '../../../../sim/lab/scale/lifetimes.ts'

/** Largest relative difference from the number of the node's iterations. */
const TOLERANCE = 0.1

const CALM: Compared = {
  peers: 10,
  stages: 6,
  spares: 1,
  microbatches: 6,
  policy: ['shadow', 'checkfree', 'copy', 'random'],
  hours: 0.02,
  losses: [],
  speeds: [1],
  bodyScale: 1,
}

/** Losses 10, 20, ... seconds after the first steps. */
function loses(...stages: number[]) {
  return stages.map((stage, i) => ({ hours: (10 * (i + 1)) / 3600, stage }))
}

test.each<[string, Partial<Compared>]>([
  ['nothing fails, large tensors', { bodyScale: 4096, microbatches: 12 }],
  ['peers of several speeds', { speeds: [1, 2, 0.5], peers: 21, microbatches: 12 }],
])('%s: an iteration takes as long within 3 %%', async (_, settings) => {
  const { node, model } = await compare({ ...CALM, ...settings })
  const [from, to] = node.madeAt.slice(-2)
  const seconds = (to! - from!) / 1000
  expect(model.undisturbedSeconds).toBeGreaterThan(seconds * 0.97)
  expect(model.undisturbedSeconds).toBeLessThan(seconds * 1.03)
})

test.each<[string, Partial<Compared>]>([
  ['copies of its own', { losses: loses(3, 5, 6, 2) }],
  ['neighbours', { policy: ['checkfree', 'copy', 'random'], losses: loses(3, 1, 6) }],
  ['understudies', { policy: ['redundant', 'random'], microbatches: 9, losses: loses(3, 5, 2) }],
  ['shards, and no spare', { policy: ['snapshot', 'random'], spares: 0, losses: loses(4, 2) }],
])('stages that come back from %s: the same ones, the same way', async (_, settings) => {
  const { node, model } = await compare({ ...CALM, ...settings })
  const { recoveries, losses, iterations } = model.trial
  expect(losses.map(({ stage }) => stage)).toEqual(node.emptied.map(({ stage }) => stage))
  expect(recoveries.map(({ stage, strategy }) => [stage, strategy])).toEqual(
    node.recoveries.map(({ stage, strategy }) => [stage, strategy]),
  )
  for (const [i, { seconds }] of recoveries.entries()) {
    expect(Math.abs(seconds! - node.recoveries[i]!.secondsSinceLoss!)).toBeLessThan(1)
  }
  expect(iterations / node.madeAt.length).toBeGreaterThan(1 - TOLERANCE)
  expect(iterations / node.madeAt.length).toBeLessThan(1 + TOLERANCE)
})

test('40 peers, of whom one goes every 4 seconds', async () => {
  const churn = { peers: 40, hours: 0.02, hourly: 20 }
  const compared = { ...CALM, ...churn, stages: 4, microbatches: 16 }
  const { node, model } = await compare({ ...compared, losses: exponentialLosses(churn, 40) })
  expect(model.trial.losses).toHaveLength(node.emptied.length)
  expect(model.trial.iterations / node.madeAt.length).toBeGreaterThan(1 - TOLERANCE)
  expect(model.trial.iterations / node.madeAt.length).toBeLessThan(1 + TOLERANCE)
})
