/** Whole swarms in this process over real libp2p: they have the losses of one process, and continue after a loss. */
import { afterEach, expect, test } from 'vitest'
import { createSingleProcess } from '../../../bench/single-process.ts'
import { systemClock } from '../../../protocols/clock.ts'
import type { Libp2pNetwork } from '../../../protocols/libp2p.ts'
import type { Entry } from '../../../src/base/journal.ts'
import type { Run } from '../../../src/run/run.ts'
import {
  entriesOf,
  type Peer,
  type SwarmOptions,
  startPeer,
  tinyCorpus,
  tinyRun,
} from '../../fixtures/swarm.ts'
import { createPeer } from '../../protocols/libp2p-fixture.ts'

const corpus = tinyCorpus()
const networks: Libp2pNetwork[] = []

afterEach(async () => {
  await Promise.all(networks.splice(0).map((network) => network.stop()))
})

/** Starts `count` peers; the first one founds the run. */
async function startSwarm(count: number, options: SwarmOptions): Promise<Peer[]> {
  const peers: Peer[] = []
  for (let i = 0; i < count; i++) peers.push(await join(peers[0]?.network, options))
  return peers
}

async function join(founder: Peer['network'] | undefined, options: SwarmOptions): Promise<Peer> {
  const network = await createPeer()
  networks.push(network)
  const contact = founder && (await network.connect(founder.addresses[0]!, { timeoutMs: 5_000 }))
  return startPeer(network, contact ?? null, options)
}

/** Runs `act` at the first entry for which `when` gives true. */
function trigger(when: (entry: Entry) => boolean, act: () => void): (entry: Entry) => void {
  let done = false
  return (entry) => {
    if (done || !when(entry)) return
    done = true
    act()
  }
}

test('20 steps of 4 stages over libp2p have the losses of the same model in one process', async () => {
  const run = tinyRun({ steps: 20 })
  const entries: Entry[] = []
  const peers = await startSwarm(5, {
    run,
    corpus,
    clock: systemClock,
    onEntry: (entry) => entries.push(entry),
  })
  const finished = await Promise.all(peers.map((peer) => peer.finished))
  expect(finished).toEqual(peers.map(() => ({ committed: 20, failure: null })))
  const losses = entriesOf(entries, 'step').map(({ loss }) => loss)

  const single = await createSingleProcess(run, corpus, 1)
  const expected: number[] = []
  for (let step = 1; step <= 20; step++) expected.push(await single.step(step))
  await single.close()
  expect(losses).toBeAllclose(expected, { relative: 1e-5 })
  expect(expected.at(-1)).toBeLessThan(0.8 * expected[0]!)
})

interface Disturbed {
  readonly run: Run
  readonly entries: Entry[]
  readonly finished: (number | string | null)[]
}

/** A run whose holder of `stage` is lost after step 3. `late` peers join only then. */
async function disturbed(
  run: Run,
  stage: number,
  peersAtStart: number,
  late: number,
): Promise<Disturbed> {
  const entries: Entry[] = []
  const joining: Promise<Peer>[] = []
  const vanish = trigger(
    (entry) => entry.type === 'step' && entry.step === 3,
    () => {
      const held = entriesOf(entries, 'held').find((entry) => entry.stage === stage)!
      const victim = networks.find(({ self }) => self === held.by)!
      void victim.stop()
    },
  )
  const joinLate = trigger(
    (entry) => entry.type === 'waiting' && victimIsGone(),
    () => {
      for (let i = 0; i < late; i++) joining.push(join(networks[0], options))
    },
  )
  const victimIsGone = () => entriesOf(entries, 'lost').length > 0
  const options: SwarmOptions = {
    run,
    corpus,
    clock: systemClock,
    onEntry: (entry) => {
      entries.push(entry)
      vanish(entry)
      joinLate(entry)
    },
  }
  const peers = await startSwarm(peersAtStart, options)
  const { committed, failure } = await peers[0]!.finished
  const others = await Promise.all(joining)
  await Promise.all(others.map((peer) => peer.finished))
  for (const peer of peers) peer.stop()
  return { run, entries, finished: [committed, failure] }
}

test('a spare rebuilds a lost middle stage from its neighbours, and every step is committed once', async () => {
  const { entries, finished } = await disturbed(tinyRun({ steps: 8 }), 2, 6, 0)
  expect(finished).toEqual([8, null])
  const [recovery] = entriesOf(entries, 'held').filter(({ cause }) => cause === 'lost')
  expect(recovery).toMatchObject({ stage: 2, strategy: 'checkfree', skipped: [] })
  expect(recovery!.donors.map(({ stage }) => stage)).toEqual([1, 3])
  expect(recovery!.norms.every((norm) => norm > 0)).toBe(true)
  expect(recovery!.bytes).toBeGreaterThan(0)
  const steps = entriesOf(entries, 'step')
  expect(steps.map(({ step }) => step)).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
  for (const { counted } of steps) expect(counted).toEqual([3, 3, 3, 3, 3])
  // Only the rebuilt stage continues with a raised learning rate.
  const rates = entriesOf(entries, 'committed').filter(({ step }) => step === 8)
  const raised = rates.filter(({ learningRate }) => learningRate > 1.05e-2)
  expect(raised.map(({ peer }) => peer)).toEqual([recovery!.by])
})

test('without a spare the swarm waits for a joiner, which takes the lost stage', async () => {
  const { entries, finished } = await disturbed(tinyRun({ steps: 6 }), 4, 5, 1)
  expect(finished).toEqual([6, null])
  // On a busy machine the members may also wait for one another. Such an entry names no stage.
  const waits = entriesOf(entries, 'waiting').filter(({ stages }) => stages.length > 0)
  expect(waits.at(-1)).toMatchObject({ stages: [4] })
  const [recovery] = entriesOf(entries, 'held').filter(({ cause }) => cause === 'lost')
  expect(recovery).toMatchObject({ stage: 4, strategy: 'copy' })
  expect(recovery!.skipped).toEqual([
    { strategy: 'checkfree', reason: expect.stringContaining('at the edge') },
  ])
})

test('a gradient that is not finite at every holder of a stage costs one after another the stage, and ends the run', async () => {
  const entries: Entry[] = []
  const peers = await startSwarm(6, {
    run: tinyRun(),
    corpus,
    clock: systemClock,
    onEntry: (entry) => entries.push(entry),
    wrap: (stage, index) =>
      index !== 2 || stage.kind !== 'body'
        ? stage
        : {
            ...stage,
            backward: async (input, gradient) =>
              (await stage.backward(input, gradient)).fill(Number.NaN),
          },
  })
  const [founder] = await Promise.all(peers.map((peer) => peer.finished))
  expect(founder!.failure).toMatch(/2 sound holders failed on it.*not finite/)
  const held = entriesOf(entries, 'held').filter(({ stage }) => stage === 2)
  expect(new Set(held.map(({ by }) => by)).size).toBe(2)
  for (const { lost, reason } of entriesOf(entries, 'lost')) {
    expect(held.map(({ by }) => by)).toContain(lost)
    expect(reason).toContain('not finite')
  }
})

test('a peer of another run and a peer that wants a missing stage are refused with the reason', async () => {
  const options = { run: tinyRun(), corpus, clock: systemClock }
  const founder = await join(undefined, options)
  const stranger = await join(founder.network, { ...options, run: tinyRun({ seed: 2 }) })
  await expect(stranger.finished).rejects.toMatchObject({ code: 'WRONG_RUN' })

  const network = await createPeer()
  networks.push(network)
  const contact = await network.connect(founder.network.addresses[0]!, { timeoutMs: 5_000 })
  const ninth = startPeer(network, contact, options, { wish: 9 })
  await expect(ninth.finished).rejects.toMatchObject({
    code: 'REFUSED',
    message: expect.stringContaining('stage 9 of 5'),
  })
  founder.stop()
  expect((await founder.finished).failure).toMatch(/stopped by its user/)
})
