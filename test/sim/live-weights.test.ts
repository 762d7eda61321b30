/** A peer outside the run copies the whole model during training. The copy is the model after one step, bit for bit. */
import { describe, expect, test } from 'vitest'
import { fetchWeights } from '../../src/model/live-weights.ts'
import type { NodeOptions } from '../../src/node/node.ts'
import { runId } from '../../src/run/run.ts'
import { entriesOf, tinyRun } from '../fixtures/swarm.ts'
import { TestSwarm } from '../fixtures/virtual-swarm.ts'

const STAGES = 3
const run = tinyRun({
  stages: STAGES,
  steps: 14,
  spares: 0,
  microbatches: 4,
  model: { ...tinyRun().model, layers: STAGES },
})

type Weights = Map<number, Float32Array>

const HOLDERS = STAGES + 1

/** The weights of a run that is stopped after this step, with so many peers. */
async function stoppedAfter(step: number, peers: number): Promise<Weights> {
  const key = `${step} by ${peers}`
  const known = stopped.get(key)
  if (known !== undefined) return known
  const swarm = started(peers, { lastStep: step })
  await swarm.end()
  const weights = new Map(swarm.saved.map(({ stage, weights }) => [stage, weights]))
  stopped.set(key, weights)
  return weights
}

const stopped = new Map<string, Weights>()

function started(peers: number, overrides: Partial<NodeOptions> = {}): TestSwarm {
  const swarm = new TestSwarm(run)
  for (let i = 1; i <= peers; i++) swarm.join(`peer-${i}`, overrides)
  return swarm
}

/** Takes a copy this many ms after the step. */
function copyAfter(swarm: TestSwarm, step: number, delayMs = 0, name = 'guest') {
  const { clock } = swarm.world
  const network = swarm.network.join(name)
  network.learn('peer-2', ['sim://peer-2'])
  const stages: Weights = new Map()
  const copy = async () => {
    await clock.sleep(delayMs)
    const options = { network, clock, run, runId: runId(run), contacts: ['peer-2'] }
    return fetchWeights(options, ({ index, weights }) => stages.set(index, weights)).finally(() =>
      network.stop(),
    )
  }
  const copied = new Promise<number>((resolve, reject) => {
    swarm.onEntry((entry) => {
      if (entry.type === 'step' && entry.step === step) copy().then(resolve, reject)
    })
  })
  copied.catch(() => {})
  return { stages, copied }
}

function expectSame(copy: Weights, expected: Weights): void {
  expect([...copy.keys()].sort()).toEqual(Array.from({ length: HOLDERS }, (_, i) => i))
  for (const [stage, weights] of copy) {
    const different = weights.findIndex((value, i) => !Object.is(value, expected.get(stage)![i]))
    expect(different, `stage ${stage}`).toBe(-1)
  }
}

describe('the weights of a run that stopped at that step, while this one goes on', () => {
  /** Delays in ms, from right after a commit, over the middle of a step, to beyond the next commit. */
  const DELAYS = [0, 150, 300, 450, 550, 600, 650, 700, 750, 900]
  const copied = new Set<number>()

  test.each(DELAYS)('%i ms after a step; the run ends as if nobody had asked', async (delayMs) => {
    const swarm = started(HOLDERS)
    const copy = copyAfter(swarm, 4, delayMs)
    await swarm.end()
    const step = await copy.copied
    copied.add(step)
    expectSame(copy.stages, await stoppedAfter(step, HOLDERS))
    const made = entriesOf(swarm.entries, 'step').map((entry) => entry.step)
    expect(made).toEqual(Array.from({ length: run.steps }, (_, i) => i + 1))
    const last = new Map(swarm.saved.map(({ stage, weights }) => [stage, weights]))
    expectSame(last, await stoppedAfter(run.steps, HOLDERS))
    expect(entriesOf(swarm.entries, 'lost')).toEqual([])
  })

  test('some of them were of the step that was made, some of one that was yet to come', () => {
    expect(copied).toContain(4)
    expect(Math.max(...copied)).toBeGreaterThan(5)
  })

  test.each([20, 60, 90, 110, 130, 170])(
    'replicas, of which one is lost %i ms after the guest began',
    async (afterMs) => {
      const swarm = started(2 * HOLDERS)
      const { stages, copied } = copyAfter(swarm, 4)
      const held = new Map<number, string[]>()
      swarm.onEntry((entry) => {
        if (entry.type === 'held')
          held.set(entry.stage, [...(held.get(entry.stage) ?? []), entry.by])
        if (entry.type !== 'step' || entry.step !== 4) return
        // The victim is neither the coordinator nor the peer that the guest asks for the roster.
        const victim = held.get(3)!.find((peer) => peer !== 'peer-1' && peer !== 'peer-2')
        swarm.world.schedule(afterMs, 'a replica is killed', () => swarm.kill(victim!))
      })
      await swarm.end()
      // The copy was complete before the loss, or the guest asked the other holder at once.
      expect(await copied).toBe(4)
      expectSame(stages, await stoppedAfter(4, 2 * HOLDERS))
      expect(entriesOf(swarm.entries, 'step')).toHaveLength(run.steps)
      expect(entriesOf(swarm.entries, 'lost').length).toBeGreaterThan(0)
    },
  )

  test('two guests at once: the second takes the copy of a later step', async () => {
    const swarm = started(HOLDERS)
    const one = copyAfter(swarm, 4, 0, 'guest')
    const two = copyAfter(swarm, 4, 0, 'another')
    await swarm.end()
    const steps = [await one.copied, await two.copied]
    expect(steps).toEqual([4, expect.any(Number)])
    for (const [i, { stages }] of [one, two].entries()) {
      expectSame(stages, await stoppedAfter(steps[i]!, HOLDERS))
    }
  })
})

test('nobody of the run is there any more: told, not waited for', async () => {
  const swarm = started(HOLDERS)
  await swarm.end()
  const network = swarm.network.join('late')
  network.learn('peer-1', ['sim://peer-1'])
  const options = { network, clock: swarm.world.clock, run, runId: runId(run) }
  const fetching = fetchWeights({ ...options, contacts: ['peer-1'] }, () => expect.unreachable())
  fetching.catch(() => {})
  await expect(swarm.world.run(fetching, { waitingFor: 'the guest' })).rejects.toThrow(
    /no attempt got a copy of every stage/,
  )
})
