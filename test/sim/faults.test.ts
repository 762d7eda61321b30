/** Regression tests: failures that once blocked a swarm for ever, lost a stage without need, or kept a stage twice. */
import { expect, test } from 'vitest'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Network } from '../../protocols/network.ts'
import { weights } from '../../protocols/weights.ts'
import { DEFAULT_COSTS, DEFAULT_LINK, play, type Scenario } from '../../sim/scenario.ts'
import { VirtualNetwork } from '../../sim/world/network.ts'
import { timedStage } from '../../sim/world/stage.ts'
import { World } from '../../sim/world/world.ts'
import type { Entry } from '../../src/base/journal.ts'
import type { Run } from '../../src/run/run.ts'
import { stageConfig } from '../../src/run/run.ts'
import { createLocalStage } from '../../stages/onnx-stage.ts'
import { Random } from '../../stages/random.ts'
import { entriesOf, startPeer, tinyCorpus, tinyRun } from '../fixtures/swarm.ts'

const corpus = tinyCorpus()

function scenario(overrides: Partial<Scenario>): Scenario {
  return {
    run: tinyRun(),
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

test('a model that diverges ends the run with the reason, also where it shows in an evaluation', async () => {
  const { optimizer } = tinyRun()
  const run = tinyRun({
    optimizer: { ...optimizer, learningRate: 1e20, warmupSteps: 0 },
    evaluation: { everySteps: 1, microbatches: 2 },
  })
  const { finished, seconds } = await play(scenario({ run }))
  expect(finished?.failure).toMatch(
    /cannot be computed, one after another.*lower optimizer.learningRate/,
  )
  expect(seconds).toBeLessThan(60)
})

interface World3 {
  readonly world: World
  readonly entries: Entry[]
  kill(name: string): void
  /** Plays until the founder has ended. */
  end(): Promise<{ committed: number; failure: string | null }>
}

/** Starts peers p1 to p6 for four body stages. `wrap` wraps each peer's network. */
function swarm(
  run: Run,
  wrap: (network: Network, name: string) => Network,
  buildMs: (name: string) => number,
): World3 {
  const world = new World({ seed: 1 })
  const virtual = new VirtualNetwork({ world, links: () => DEFAULT_LINK })
  const entries: Entry[] = []
  const peers = new Map<
    string,
    { stop(): void; finished: Promise<{ committed: number; failure: string | null }> }
  >()
  for (let i = 1; i <= 6; i++) {
    const name = `p${i}`
    const network = wrap(virtual.join(name), name)
    const peer = startPeer(
      network,
      null,
      { run, corpus, clock: world.clock, onEntry: (entry) => entries.push(entry) },
      {
        discover: async (enter) =>
          i === 1 ? null : enter(await network.connect('sim://p1', { timeoutMs: 5_000 })),
        createStage: (index) =>
          world.compute(buildMs(name), 'build', async () => {
            const options = { provider: 'cpu', threads: 1, random: new Random(run.seed) } as const
            const stage = await createLocalStage(stageConfig(run), index, options)
            return timedStage(stage, world, () => 5)
          }),
      },
    )
    peer.finished.catch(() => {})
    peers.set(name, peer)
  }
  return {
    world,
    entries,
    kill: (name) => {
      virtual.kill(name)
      peers.get(name)!.stop()
    },
    end: () =>
      world.run(peers.get('p1')!.finished, { waitingFor: 'the founder', untilMs: 3_600_000 }),
  }
}

test('a donor that fails once is asked again', async () => {
  let failed = false
  const { entries, kill, end } = swarm(
    tinyRun({ steps: 6 }),
    (network) => ({
      ...bound(network),
      call: (peer, protocol, message, options) => {
        if (protocol !== weights.protocol || failed)
          return network.call(peer, protocol, message, options)
        failed = true
        return Promise.reject(new ProtocolError('TIMEOUT', 'once'))
      },
    }),
    () => 10,
  )
  killAt(entries, 3, () => kill(holderOf(entries, 2)))
  expect(await end()).toEqual({ committed: 6, failure: null })
  expect(failed).toBe(true)
  expect(entriesOf(entries, 'held').at(-1)).toMatchObject({ stage: 2, strategy: 'checkfree' })
})

test('a holder lost while others still build leaves no stage twice, and starts again from the seed', async () => {
  const builds: string[] = []
  const { world, entries, kill, end } = swarm(tinyRun({ steps: 5 }), bound, (name) => {
    builds.push(name)
    return name === 'p5' && builds.filter((other) => other === 'p5').length === 1 ? 20_000 : 50
  })
  world.schedule(3_000, 'p2 dies', () => kill('p2'))
  expect(await end()).toEqual({ committed: 5, failure: null })
  const rebuilt = entriesOf(entries, 'held').filter(({ cause }) => cause === 'lost')
  for (const { strategy, learningRateScale } of rebuilt) {
    expect({ strategy, learningRateScale }).toEqual({ strategy: 'seed', learningRateScale: 1 })
  }
  expect(entriesOf(entries, 'aborted').every(({ code }) => code === 'PEER_LOST')).toBe(true)
})

/** Binds a network's methods, so that a test can replace one of them. */
function bound(network: Network): Network {
  return {
    self: network.self,
    get addresses() {
      return network.addresses
    },
    handle: (...args) => network.handle(...args),
    call: (...args) => network.call(...args),
    connect: (...args) => network.connect(...args),
    learn: (...args) => network.learn(...args),
    forget: (...args) => network.forget(...args),
    disconnect: (...args) => network.disconnect(...args),
    hostOf: (peer) => network.hostOf(peer),
    shun: (...args) => network.shun(...args),
    publish: (...args) => network.publish(...args),
    subscribe: (...args) => network.subscribe(...args),
    onLost: (listener) => network.onLost(listener),
    onFound: (listener) => network.onFound(listener),
    stop: () => network.stop(),
  }
}

function holderOf(entries: readonly Entry[], stage: number): string {
  return entriesOf(entries, 'held').find((entry) => entry.stage === stage)!.by
}

/** Calls `act` right after the step is journaled. */
function killAt(entries: Entry[], step: number, act: () => void): void {
  const push = entries.push.bind(entries)
  entries.push = (...added) => {
    const length = push(...added)
    if (added.some((entry) => entry.type === 'step' && entry.step === step)) act()
    return length
  }
}
