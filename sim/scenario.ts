/**
 * One history of a swarm: nodes of src under virtual time, with stages that truly learn and may lose their holders. A
 * function of its settings: the same ones give the same journal, byte for byte.
 */
import { ProtocolError } from '../protocols/errors.ts'
import type { Roster } from '../protocols/membership.ts'
import type { PeerId } from '../protocols/network.ts'
import { createJournal, type Entry } from '../src/base/journal.ts'
import { type Corpus, heldOutMicrobatch, microbatch } from '../src/data/corpus.ts'
import type { Enter } from '../src/membership/discovery.ts'
import type { Finished } from '../src/membership/member-events.ts'
import { holdersOf } from '../src/membership/roster.ts'
import { runNode } from '../src/node/node.ts'
import { type Run, runId, stageConfig } from '../src/run/run.ts'
import { createLocalStage } from '../stages/onnx-stage.ts'
import { Random } from '../stages/random.ts'
import type { AnyStage } from '../stages/stage.ts'
import { linkedStore } from './world/linked-store.ts'
import { chargeMessages, type MessageCost } from './world/message-cost.ts'
import { VirtualNetwork } from './world/network.ts'
import type { VirtualPeer } from './world/peer.ts'
import { type Process, Processor } from './world/processor.ts'
import { type StageMethod, sharingStage, timedStage } from './world/stage.ts'
import type { Link } from './world/wire.ts'
import { World } from './world/world.ts'

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
  /** Between any two peers, and to the store. */
  readonly link: Link
  /** Between the peers of two slots, where it depends on them. */
  readonly links?: ((from: number, to: number) => Link) | undefined
  /** Milliseconds of virtual time. */
  readonly costMs: Costs
  /** That all peers share, need not be whole; null or left out: each has a machine to itself. */
  readonly cores?: number | null | undefined
  /** What messages take of their peers' processors; left out: nothing. */
  readonly messageMs?: MessageCost | undefined
  /** What the peer of a slot is likely to be lost together with; nothing if left out. */
  readonly domainOf?: ((slot: number) => string) | undefined
  /** By how much the peer of a slot is faster than `costMs` says; 1 if left out. */
  readonly speedOf?: ((slot: number) => number) | undefined
  /** Virtual time after which the history is given up: a swarm that waits for a joiner beats for ever. */
  readonly limitMs: number
  /** Sees every peer's end of the network before its node does. */
  readonly watch?: (peer: VirtualPeer) => void
  readonly onEntry?: (entry: Entry) => void
  /** Puts something round each stage that a peer builds, under the time that it takes. */
  readonly wrap?: (stage: AnyStage, index: number, peer: PeerId) => AnyStage
  /** Hears how many bytes are written to the store of checkpoints. */
  readonly onStored?: (bytes: number) => void
  /** Called before time begins, with what makes peers vanish at any time. */
  readonly disturb?: (playing: Playing) => void
  /** True for an entry at which the history may end, before its last step. */
  readonly isEnough?: (entry: Entry) => boolean
}

/** Milliseconds of virtual time. */
export type Costs = Readonly<Record<StageMethod | 'build', number>>

/**
 * A history that goes on, for whoever disturbs it. A slot is a place for one peer: 0, 1, ... in the order in which the
 * first ones join; whoever comes in place of a lost one has its slot.
 */
export interface Playing {
  readonly world: World
  /** All holders of a stage vanish. Null if it has none, so that nothing happens. */
  loseStage(stage: number): Vanished | null
  /** Null if nobody is there now. */
  losePeer(slot: number): Vanished | null
}

interface Vanished {
  /** One of those that did. */
  readonly peer: PeerId
  /** That was held; null for a spare. */
  readonly stage: number | null
  /** Nobody holds it any more. */
  readonly emptied: boolean
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
  /** Of the coordinator; null if enough had been seen before. */
  readonly finished: Finished | null
  /** Of virtual time. */
  readonly seconds: number
}

interface PlayedPeer {
  readonly finished: Promise<Finished>
  readonly abort: AbortController
  /** Null where nobody shares. */
  readonly process: Process | null
}

/** Peers are named by the order of their joining; the first one founds the run. */
const FOUNDER = 'peer-1'

/** Between two attempts of a newcomer to find somebody of the run. */
const SEARCH_MS = 1_000

export async function play(scenario: Scenario): Promise<History> {
  const { run, corpus, spares, deaths, replaced, link, links, costMs, limitMs } = scenario
  const world = new World({ seed: run.seed })
  const peers = new Map<PeerId, PlayedPeer>()
  const slots = new Map<PeerId, number>()
  const slotOf = (name: PeerId) => slots.get(name)!
  const network = new VirtualNetwork({
    world,
    links: links === undefined ? () => link : (from, to) => links(slotOf(from), slotOf(to)),
  })
  const processor = processorOf(scenario, world)
  const checkpoints = linkedStore(world.clock, link, scenario.onStored)
  const entries: Entry[] = []
  const over = Promise.withResolvers<Finished | null>()
  let coordinator: PeerId = FOUNDER
  /** Living peers that are in the run, and not only on their way to it. */
  const inside = new Set<PeerId>()
  let steps = 0

  /** True if it was the last one inside: whoever comes then would look for somebody for ever. */
  const takeOut = (name: PeerId) => inside.delete(name) && inside.size === 0
  const lose = (name: PeerId) => {
    if (!takeOut(name)) return
    const committed = lastRoster(entries)?.committed ?? 0
    over.resolve({ committed, failure: 'nobody is left who was in the run' })
  }

  const join = (slot: number) => {
    const name = `peer-${peers.size + 1}`
    const abort = new AbortController()
    const own = network.join(name)
    slots.set(name, slot)
    const speed = scenario.speedOf?.(slot) ?? 1
    const process = processor?.start() ?? null
    if (scenario.messageMs) chargeMessages(own, process!, scenario.messageMs)
    scenario.watch?.(own)
    const finished = runNode({
      run,
      runId: runId(run),
      network: own,
      clock: world.clock,
      journal: createJournal(name, () => world.clock.now(), [record]),
      wish: null,
      checkpoints,
      domain: scenario.domainOf?.(slot) ?? '',
      lastStep: run.steps,
      signal: abort.signal,
      discover: (enter) => find(own, enter, abort.signal),
      createStage: async (index) => {
        const options = { provider: 'cpu', threads: 1, random: new Random(run.seed) } as const
        const build = () => createLocalStage(stageConfig(run), index, options)
        const label = `${name} builds stage ${index}`
        const ms = (method: StageMethod | 'build') => costMs[method] / speed
        const stage = await (process?.run(ms('build'), label, build) ??
          world.compute(ms('build'), label, build))
        const wrapped = scenario.wrap?.(stage, index, name) ?? stage
        return process ? sharingStage(wrapped, process, ms) : timedStage(wrapped, world, ms)
      },
      loadData: async () => ({
        training: (step, index) => microbatch(run, corpus, step, index),
        heldOut: (index) => heldOutMicrobatch(run, corpus, index),
      }),
    })
    peers.set(name, { finished, abort, process })
    /** Takes it out. True if the run ends with it: how one ended that was killed is nobody's business any more. */
    const endsRun = () => own.alive && (name === coordinator || takeOut(name))
    finished.then(
      (outcome) => {
        if (endsRun()) over.resolve(outcome)
      },
      (error) => {
        if (endsRun()) over.reject(error)
      },
    )
  }

  /** Whoever coordinates is asked first, then everybody; the first peer founds the run, unless it comes back to it. */
  let founded = false
  let isOver = false
  const find = async (own: VirtualPeer, enter: Enter, signal: AbortSignal) => {
    if (own.self === FOUNDER && !founded) {
      founded = true
      return null
    }
    while (!isOver) {
      for (const contact of new Set([coordinator, ...network.living])) {
        if (contact === own.self || !network.living.includes(contact)) continue
        try {
          const peer = await own.connect(`sim://${contact}`, { timeoutMs: 10_000, signal })
          const found = await enter(peer)
          if (found !== null) return found
        } catch (error) {
          if (!own.alive || !(error instanceof ProtocolError)) throw error
        }
      }
      await world.clock.sleep(SEARCH_MS, signal)
    }
    // Who comes too late would look for the others for ever.
    throw new Error('the run is over')
  }

  const kill = (name: PeerId) => {
    const { abort, process } = peers.get(name)!
    network.kill(name)
    process?.end()
    abort.abort(new Error(`${name} was killed`))
    if (replaced) join(slotOf(name))
    lose(name)
  }

  /** Those that live, by the last roster that anybody has told of. */
  const livingHolders = (stage: number) =>
    (lastRoster(entries) ? holdersOf(lastRoster(entries)!, stage) : [])
      .map(({ peer }) => peer)
      .filter((peer) => network.living.includes(peer))

  scenario.disturb?.({
    world,
    loseStage(stage) {
      const holders = livingHolders(stage)
      for (const holder of holders) kill(holder)
      const [peer] = holders
      return peer === undefined ? null : { peer, stage, emptied: true }
    },
    losePeer(slot) {
      const name = network.living.findLast((each) => slotOf(each) === slot)
      if (name === undefined) return null
      const stage = lastRoster(entries)?.members.find(({ peer }) => peer === name)?.stage ?? null
      kill(name)
      return { peer: name, stage, emptied: stage !== null && livingHolders(stage).length === 0 }
    },
  })

  const record = (entry: Entry) => {
    entries.push(entry)
    scenario.onEntry?.(entry)
    if (entry.type === 'roster') coordinator = entry.peer
    const enters = entry.type === 'founded' || entry.type === 'joined'
    // One that was killed may have had the word still on its lips.
    if (enters && network.living.includes(entry.peer)) inside.add(entry.peer)
    if (entry.type === 'dropped') lose(entry.peer)
    if (scenario.isEnough?.(entry)) over.resolve(null)
    if (entry.type !== 'step') return
    steps++
    const dead = deaths.filter(({ step }) => step === steps)
    for (const holder of dead.map(({ stage }) => holderIn(entries, stage))) kill(holder)
  }

  for (let i = 0; i < run.stages + 1 + spares; i++) join(i)
  const finished = await world.run(over.promise, {
    waitingFor: `the run to finish ${run.steps} steps`,
    untilMs: limitMs,
  })
  isOver = true
  const seconds = world.clock.now() / 1000
  if (finished === null) {
    for (const name of network.living) {
      network.kill(name)
      peers.get(name)!.abort.abort(new Error('enough was seen'))
    }
  }
  const all = Promise.allSettled([...peers.values()].map((peer) => peer.finished))
  await world.run(all, { waitingFor: 'all peers to end' })
  return { entries, finished, seconds }
}

/** Null where every peer computes at its own pace. */
function processorOf({ cores, messageMs }: Scenario, world: World): Processor | null {
  const shared = cores ?? null
  if (shared === null && messageMs === undefined) return null
  return new Processor(world, shared ?? Number.POSITIVE_INFINITY)
}

function lastRoster(entries: readonly Entry[]): Roster | undefined {
  const known = entries.findLast((entry) => entry.type === 'roster')
  return known?.type === 'roster' ? known.roster : undefined
}

/** Of the holders of a stage the one that came last, by the last roster that anybody has told of. */
function holderIn(entries: readonly Entry[], stage: number): PeerId {
  const roster = lastRoster(entries)
  const holder = roster && holdersOf(roster, stage).at(-1)
  if (holder === undefined) throw new Error(`nobody held stage ${stage}`)
  return holder.peer
}
