/** The node's own code under virtual time is deterministic, and learns what one process learns. */
import { describe, expect, test } from 'vitest'
import { createSingleProcess } from '../../bench/single-process.ts'
import {
  DEFAULT_COSTS,
  DEFAULT_LINK,
  type Playing,
  play,
  type Scenario,
} from '../../sim/scenario.ts'
import { entriesOf, tinyCorpus, tinyRun } from '../fixtures/swarm.ts'

const corpus = tinyCorpus()

function scenario(overrides: Partial<Scenario> = {}): Scenario {
  return {
    run: tinyRun({ steps: 20 }),
    corpus,
    spares: 1,
    deaths: [],
    replaced: false,
    link: DEFAULT_LINK,
    costMs: DEFAULT_COSTS,
    limitMs: 600_000,
    ...overrides,
  }
}

test('20 steps of 4 stages under virtual time have the losses of the same model in one process', async () => {
  const options = scenario()
  const { entries, finished } = await play(options)
  expect(finished).toEqual({ committed: 20, failure: null })
  const single = await createSingleProcess(options.run, corpus, 1)
  const expected: number[] = []
  for (let step = 1; step <= 20; step++) expected.push(await single.step(step))
  await single.close()
  const losses = entriesOf(entries, 'step').map(({ loss }) => loss)
  expect(losses).toBeAllclose(expected, { relative: 1e-5 })
})

describe('a body stage lost at step 8', () => {
  const options = scenario({ deaths: [{ stage: 2, step: 8 }] })

  test('is rebuilt by the spare; the same seed gives the same journal, byte for byte', async () => {
    const [first, second] = [await play(options), await play(options)]
    expect(first.finished).toEqual({ committed: 20, failure: null })
    const [recovery] = entriesOf(first.entries, 'held').filter(({ cause }) => cause === 'lost')
    expect(recovery).toMatchObject({ stage: 2, strategy: 'checkfree', by: 'peer-6' })
    expect(entriesOf(first.entries, 'step').map(({ step }) => step)).toEqual(
      Array.from({ length: 20 }, (_, i) => i + 1),
    )
    expect(JSON.stringify(second.entries)).toBe(JSON.stringify(first.entries))

    const other = await play({ ...options, run: tinyRun({ steps: 20, seed: 2 }) })
    expect(JSON.stringify(other.entries)).not.toBe(JSON.stringify(first.entries))
  })

  test('without a spare stays lost: the swarm says for what it waits', async () => {
    await expect(play({ ...options, spares: 0 })).rejects.toThrow(
      /past 600000 ms, waiting for the run to finish/,
    )
  })

  test('of two edges is copied from its one neighbour', async () => {
    for (const stage of [1, 4]) {
      const { entries } = await play(
        scenario({ deaths: [{ stage, step: 3 }], run: tinyRun({ steps: 5 }) }),
      )
      const [recovery] = entriesOf(entries, 'held').filter(({ cause }) => cause === 'lost')
      expect(recovery).toMatchObject({ stage, strategy: 'copy' })
    }
  })
})

test('a newcomer for whom the run is over does not keep the world going', async () => {
  const run = tinyRun({ steps: 5 })
  let playing!: Playing
  const options = scenario({
    run,
    replaced: true,
    disturb: (given) => {
      playing = given
    },
    // The coordinator's last entry comes before all nodes end.
    onEntry: (entry) => {
      if (entry.type === 'evaluation' && entry.step === run.steps) playing.loseStage(2)
    },
  })
  const { entries, finished } = await play(options)
  expect(finished).toEqual({ committed: run.steps, failure: null })
  expect(entriesOf(entries, 'joined').map(({ peer }) => peer)).not.toContain('peer-7')
})

test.each([
  ['float16', 2e-3],
  ['int8', 2e-2],
] as const)('%s on the wire learns the same within %d', async (wire, bound) => {
  const [exact, coarse] = await Promise.all(
    (['float32', wire] as const).map(async (form) => {
      const { entries } = await play(scenario({ run: tinyRun({ steps: 20, wire: form }) }))
      return entriesOf(entries, 'step').map(({ loss }) => loss)
    }),
  )
  expect(coarse).toBeAllclose(exact!, { relative: bound })
  expect(coarse).not.toEqual(exact)
})

test('clipped by the norm of the whole model, a swarm makes the same steps as one process', async () => {
  const { optimizer } = tinyRun()
  const clipped = { ...optimizer, clip: 'whole', clipNorm: 0.5 } as const
  const options = scenario({ run: tinyRun({ steps: 6, optimizer: clipped }) })
  const { entries } = await play(options)
  const single = await createSingleProcess(options.run, corpus, 1)
  const expected: number[] = []
  for (let step = 1; step <= 6; step++) expected.push(await single.step(step))
  await single.close()
  expect(entriesOf(entries, 'step').map(({ loss }) => loss)).toBeAllclose(expected, {
    relative: 1e-5,
  })
  const scales = entriesOf(entries, 'committed').filter(({ step }) => step === 6)
  expect(new Set(scales.map(({ gradientScale }) => gradientScale)).size).toBe(1)
})
