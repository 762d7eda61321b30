/**
 * Checks the distance of recovered weights from the lost weights. It is zero where each update was made twice, and largest
 * where the weights are the initial ones.
 */
import { expect, test } from 'vitest'
import { playJob } from '../../../sim/lab/play-job.ts'
import { loadScenario } from '../../../sim/lab/scenario.ts'
import { relativeError } from '../../../sim/lab/weight-errors.ts'
import { TINY_LAB_RUN } from '../../fixtures/tiny-lab.ts'

test('the relative error of a vector is the length of the difference over its own', () => {
  expect(relativeError(new Float32Array([3, 4]), new Float32Array([3, 4]))).toBe(0)
  expect(relativeError(new Float32Array([0, 0]), new Float32Array([3, 4]))).toBe(1)
  expect(relativeError(new Float32Array([6, 8]), new Float32Array([3, 4]))).toBe(1)
  expect(relativeError(new Float32Array([3, 5]), new Float32Array([3, 4]))).toBeCloseTo(0.2, 7)
})

const { scenario } = loadScenario('quick', {
  run: { ...TINY_LAB_RUN, spares: 1 },
})

async function recoveriesBy(policy: string[], redraw?: true, learningRate = 0.01) {
  const { data, network, compute } = scenario
  const recovery = { policy, redraw }
  const run = { ...scenario.run, optimizer: { learningRate, warmupSteps: 0 } }
  const job = {
    ...{ run, data, network, compute, peers: null, recovery, seed: 1, steps: 12 },
    ...{ fold: 1, iterationHours: 0, atBoundaries: true, targetLoss: null, hours: null },
    // Hours of virtual time. A recovery takes 31 s, so the second loss, 50 s later, does not meet the first recovery.
    // The understudy of stage 2 is not the newcomer.
    losses: [
      { hours: 0.01, stage: 3 },
      { hours: 0.024, stage: 2 },
    ],
  }
  const { recoveries, failure } = await playJob(job, process.cwd(), () => {})
  expect(failure).toBeNull()
  return recoveries
}

test('a stage whose updates another peer made, too, comes back as it was', async () => {
  const recoveries = await recoveriesBy(['redundant', 'random'])
  expect(recoveries).toHaveLength(2)
  for (const { strategy, weightError } of recoveries) {
    expect(strategy).toBe('redundant')
    expect(weightError).toBe(0)
  }
})

test('one that begins anew is as far off as it had come', async () => {
  const [early, late] = await recoveriesBy(['random'])
  expect(early!.weightError).toBeGreaterThan(0)
  // Each update of Adam moves each weight by about the learning rate.
  expect(late!.weightError).toBeGreaterThan(early!.weightError!)
})

test('one that is drawn anew is as far off as two draws are apart', async () => {
  // The stage has 640 weights from N(0, 0.02) and two norms of eight ones, which are not drawn. Nothing is learnt.
  const far = Math.sqrt((2 * 640 * 0.02 ** 2) / (16 + 640 * 0.02 ** 2))
  const [first, second] = await recoveriesBy(['random'], true, 1e-9)
  for (const { weightError } of [first!, second!]) {
    expect(Math.abs(weightError! / far - 1)).toBeLessThan(0.1)
  }
  const [own] = await recoveriesBy(['random'], undefined, 1e-9)
  expect(own!.weightError).toBeLessThan(1e-6)
})
