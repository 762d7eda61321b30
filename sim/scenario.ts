/**
 * One history of a swarm: nodes of src under virtual time, with stages that truly learn and may lose their holders. A
 * function of its settings: the same ones give the same journal, byte for byte.
 */
import type { Store } from '../src/checkpoint/store.ts'
import { type Corpus, heldOutMicrobatch, microbatch } from '../src/corpus.ts'
import { createJournal, type Entry } from '../src/journal.ts'
import type { Finished } from '../src/member.ts'
import { runNode } from '../src/node.ts'
import { holdersOf } from '../src/roster.ts'
import { type Run, runId, stageConfig } from '../src/run.ts'
import { createLocalStage } from '../stages/onnx-stage.ts'
import { Random } from '../stages/random.ts'
import { MemoryStore } from './memory-store.ts'
import { VirtualNetwork } from './network.ts'
import type { VirtualPeer } from './peer.ts'
import { type StageMethod, timedStage } from './stage.ts'
import type { Link } from './wire.ts'
import { World } from './world.ts'

/** The holder of a stage vanishes. */
export interface Death {
  /** Right after so many steps were committed, those counted again that were made again after a rollback. */
  readonly step: number
  readonly stage: number
}

export interface Scenario {
  readonly run: Run
  readonly corpus: Corpus
  readonly spares: number
  readonly deaths: readonly Death[]
  /** Another peer joins in place of each one that dies, so that there are always as many spares. */
  readonly replaced: boolean
  /** Between any two peers. */
  readonly link: Link
  /** Milliseconds of virtual time. */
  readonly costMs: Readonly<Record<StageMethod | 'build', number>>
  /** Virtual time after which the history is given up: a swarm that waits for a joiner beats for ever. */
  readonly limitMs: number
  /** Sees every peer's end of the network before its node does. */
  readonly watch?: (peer: VirtualPeer) => void
  readonly onEntry?: (entry: Entry) => void
  /** Hears how many bytes are written to the store of checkpoints. */
  readonly onStored?: (bytes: number) => void
}

/** A laptop a stage, on a home network. */
export const DEFAULT_LINK: Link = { latencyMs: 20, bytesPerMs: 2_500 }
export const DEFAULT_LIMIT_MS = 24 * 3_600_000
export const DEFAULT_COSTS: Scenario['costMs'] = {
  build: 500,
  forward: 20,
  forwardKeeping: 20,
  backward: 60,
  embed: 1,
  embedBackward: 1,
  lossAndGradient: 20,
  loss: 10,
  gradientNorm: 1,
  update: 5,
  zeroGradients: 1,
  load: 5,
  optimizerState: 1,
  close: 0,
}

export interface History {
  /** What all peers journaled, in the order in which it happened. */
  readonly entries: readonly Entry[]
  /** Of the coordinator. */
  readonly finished: Finished
  /** Of virtual time. */
  readonly seconds: number
}

/** Peers are named by the order of their joining; the first one founds the run. */
const FOUNDER = 'peer-1'

export async function play(scenario: Scenario): Promise<History> {
  const { run, corpus, spares, deaths, replaced, link, costMs, limitMs } = scenario
  const world = new World({ seed: run.seed })
  const network = new VirtualNetwork({ world, links: () => link })
  const checkpoints = storeOf(scenario, world)
  const entries: Entry[] = []
  const peers = new Map<string, { finished: Promise<Finished>; abort: AbortController }>()

  let steps = 0

  const join = () => {
    const name = `peer-${peers.size + 1}`
    const abort = new AbortController()
    const own = network.join(name)
    scenario.watch?.(own)
    const finished = runNode({
      run,
      runId: runId(run),
      network: own,
      clock: world.clock,
      journal: createJournal(name, () => world.clock.now(), [record]),
      wish: null,
      checkpoints,
      lastStep: run.steps,
      signal: abort.signal,
      discover: async (enter) =>
        name === FOUNDER
          ? null
          : enter(await own.connect(`sim://${FOUNDER}`, { timeoutMs: 10_000 })),
      createStage: async (index) => {
        const options = { provider: 'cpu', threads: 1, random: new Random(run.seed) } as const
        const stage = await world.compute(costMs.build, `${name} builds stage ${index}`, () =>
          createLocalStage(stageConfig(run), index, options),
        )
        return timedStage(stage, world, (method) => costMs[method])
      },
      loadData: async () => ({
        training: (step, index) => microbatch(run, corpus, step, index),
        heldOut: (index) => heldOutMicrobatch(run, corpus, index),
      }),
    })
    // Who was killed ends in some error of its own, which is nobody's business any more.
    finished.catch(() => {})
    peers.set(name, { finished, abort })
  }

  const record = (entry: Entry) => {
    entries.push(entry)
    scenario.onEntry?.(entry)
    if (entry.type !== 'step') return
    steps++
    const dead = deaths.filter(({ step }) => step === steps)
    for (const holder of dead.map(({ stage }) => holderIn(entries, stage))) {
      network.kill(holder)
      peers.get(holder)!.abort.abort(new Error(`${holder} was killed`))
      if (replaced) join()
    }
  }

  for (let i = 0; i < run.stages + 1 + spares; i++) join()
  const finished = await world.run(peers.get(FOUNDER)!.finished, {
    waitingFor: `${FOUNDER} to finish ${run.steps} steps`,
    untilMs: limitMs,
  })
  const seconds = world.clock.now() / 1000
  const all = Promise.allSettled([...peers.values()].map((peer) => peer.finished))
  await world.run(all, { waitingFor: 'all peers to end' })
  return { entries, finished, seconds }
}

/** A store at the other end of a link; each transfer has the link to itself. */
function storeOf({ link, onStored }: Scenario, { clock }: World): Store {
  const { latencyMs, bytesPerMs } = link
  const store = new MemoryStore()
  const transfer = (bytes: number) => clock.sleep(2 * latencyMs + bytes / bytesPerMs)
  return {
    location: store.location,
    list: async (prefix) => {
      await transfer(0)
      return store.list(prefix)
    },
    read: async (name, offset, into) => {
      await transfer(into.length)
      await store.read(name, offset, into)
    },
    write: async (name, content) => {
      const bytes = content.reduce((sum, { length }) => sum + length, 0)
      await transfer(bytes)
      onStored?.(bytes)
      await store.write(name, content)
    },
    remove: async (name) => {
      await transfer(0)
      await store.remove(name)
    },
  }
}

/** Of the holders of a stage the one that came last, by the last roster that anybody has told of. */
function holderIn(entries: readonly Entry[], stage: number): string {
  const known = entries.findLast((entry) => entry.type === 'roster')
  const holder = known?.type === 'roster' ? holdersOf(known.roster, stage).at(-1) : undefined
  if (holder === undefined) throw new Error(`nobody held stage ${stage}`)
  return holder.peer
}
