/** A microbatch that no holder can compute costs its step, which is committed without a change of any weight. */
import { expect, test } from 'vitest'
import { corpusBatches } from '../../sim/learning-peers.ts'
import { SKIPS_MAX } from '../../src/base/limits.ts'
import { reportOf } from '../../src/cli/report.ts'
import { createLocalStage } from '../../stages/onnx-stage.ts'
import type { AnyStage } from '../../stages/stage.ts'
import { entriesOf, tinyCorpus, tinyRun } from '../fixtures/swarm.ts'
import { TestSwarm } from '../fixtures/virtual-swarm.ts'

const STEPS = 6
const MICROBATCH = 1
const run = tinyRun({ steps: STEPS })
const corpus = tinyCorpus()

/** Plays a swarm to its end. Nobody can embed one microbatch of each of these steps. */
async function played(badSteps: readonly number[], peers = 6) {
  const batches = corpusBatches(run, corpus)
  const bad = await Promise.all(badSteps.map((step) => batches.training(step, MICROBATCH)))
  const isBad = (tokens: Int32Array) => bad.some((each) => `${each.tokens}` === `${tokens}`)
  const create = async (...args: Parameters<typeof createLocalStage>) => {
    const stage: AnyStage = await createLocalStage(...args)
    if (stage.kind !== 'ends') return stage
    const embed = async (tokens: Int32Array) => {
      const embedded = await stage.embed(tokens)
      return isBad(tokens) ? embedded.fill(Number.NaN) : embedded
    }
    return { ...stage, embed }
  }
  const swarm = new TestSwarm(run, { corpus, create: create as typeof createLocalStage })
  for (let i = 1; i <= peers; i++) swarm.join(`peer-${i}`)
  const ends = [...swarm.peers.values()].map(({ finished }) => finished)
  await swarm.end()
  return { entries: swarm.entries, saved: swarm.saved, finished: await Promise.all(ends) }
}

test('the step is skipped by all, journaled and counted, and the weights stay as they were', async () => {
  const { entries, finished } = await played([3])
  for (const each of finished) expect(each).toEqual({ committed: STEPS, failure: null })
  const skipped = entriesOf(entries, 'skipped')
  expect(skipped.map(({ step, total }) => [step, total])).toEqual([[3, 1]])
  expect(skipped[0]!.reason).toContain('gives values that are not finite')
  expect(entriesOf(entries, 'step').map(({ step }) => step)).toEqual([1, 2, 4, 5, 6])
  const applied = entriesOf(entries, 'committed').filter(({ step }) => step === 3)
  expect(new Set(applied.map(({ stage }) => stage)).size).toBe(run.stages + 1)
  for (const { learningRate } of applied) expect(learningRate).toBe(0)
  expect(reportOf(entries, run)).toMatchObject({ committedOnce: true, stepsSkipped: 1 })
})

test('a skipped step changes no weight: a run that skips its last steps ends with those of the step before', async () => {
  const { saved, entries } = await played([5, 6])
  expect(entriesOf(entries, 'skipped').map(({ step }) => step)).toEqual([5, 6])
  const shorter = new TestSwarm(run, { corpus })
  for (let i = 1; i <= 6; i++) shorter.join(`peer-${i}`, { lastStep: 4 })
  await shorter.end()
  expect(saved).toHaveLength(run.stages + 1)
  expect(saved).toEqual(shorter.saved)
})

test('too many steps in a row end the run, and the reason names the learning rate', async () => {
  const { entries, finished } = await played([3, 4, 5])
  expect(SKIPS_MAX).toBe(3)
  for (const { committed, failure } of finished) {
    expect(committed).toBe(4)
    expect(failure).toContain('steps 3, 4, 5 cannot be computed')
    expect(failure).toContain(
      `lower optimizer.learningRate, which is ${run.optimizer.learningRate}`,
    )
  }
  expect(entriesOf(entries, 'skipped').map(({ step }) => step)).toEqual([3, 4])
})
