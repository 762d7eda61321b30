/**
 * One history of a swarm: nodes of src under virtual time, with stages that truly learn and may lose their holders. A
 * function of its settings: the same ones give the same journal, byte for byte.
 */
import type { PeerId } from '../protocols/network.ts'
import type { Entry } from '../src/base/journal.ts'
import type { Corpus } from '../src/data/corpus.ts'
import type { Finished } from '../src/membership/member-events.ts'
import { holdersOf } from '../src/membership/roster.ts'
import type { Run } from '../src/run/run.ts'
import type { AnyStage } from '../stages/stage.ts'
import { corpusBatches, learningStages } from './learning-peers.ts'
import { type Host, VirtualSwarm } from './virtual-swarm.ts'
import { linkedStore } from './world/linked-store.ts'
import { chargeMessages, type MessageCost } from './world/message-cost.ts'
import type { VirtualPeer } from './world/peer.ts'
import { Processor } from './world/processor.ts'
import type { StageMethod } from './world/stage.ts'
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

/** How long a newcomer waits for one contact. */
const CONNECT_MS = 10_000

export function play(scenario: Scenario): Promise<History> {
  return new Play(scenario).run()
}

class Play {
  readonly #scenario: Scenario
  readonly #swarm: VirtualSwarm
  readonly #entries: Entry[] = []
  readonly #over = Promise.withResolvers<Finished | null>()
  /** Living peers that are members of the run. */
  readonly #inside = new Set<PeerId>()
  #steps = 0
  #isOver = false

  constructor(scenario: Scenario) {
    this.#scenario = scenario
    this.#swarm = this.#swarmOf(scenario)
    this.#swarm.onEntry((entry) => this.#record(entry))
  }

  async run(): Promise<History> {
    const { run, spares, limitMs, disturb } = this.#scenario
    const swarm = this.#swarm
    disturb?.({
      world: swarm.world,
      loseStage: (stage) => this.#loseStage(stage),
      losePeer: (slot) => this.#losePeer(slot),
    })
    for (let slot = 0; slot < run.stages + 1 + spares; slot++) this.#join(slot)
    const finished = await swarm.run(this.#over.promise, {
      waitingFor: `the run to finish ${run.steps} steps`,
      untilMs: limitMs,
    })
    this.#isOver = true
    const seconds = swarm.world.clock.now() / 1000
    if (finished === null) for (const { name } of swarm.living) swarm.kill(name)
    const all = Promise.allSettled([...swarm.peers.values()].map((peer) => peer.finished))
    await swarm.run(all, { waitingFor: 'all peers to end' })
    return { entries: this.#entries, finished, seconds }
  }

  #loseStage(stage: number): Vanished | null {
    const holders = this.#swarm.livingHolders(stage)
    for (const holder of holders) this.#kill(holder)
    const [peer] = holders
    return peer === undefined ? null : { peer, stage, emptied: true }
  }

  #losePeer(slot: number): Vanished | null {
    const swarm = this.#swarm
    const name = swarm.at(slot)
    if (name === undefined) return null
    const stage = swarm.roster?.members.find(({ peer }) => peer === name)?.stage ?? null
    this.#kill(name)
    const emptied = stage !== null && swarm.livingHolders(stage).length === 0
    return { peer: name, stage, emptied }
  }

  #swarmOf(scenario: Scenario): VirtualSwarm {
    const { run, corpus, link, links, costMs, speedOf, domainOf, wrap } = scenario
    const slotOf = (name: PeerId) => this.#swarm.slotOf(name)
    const world = new World({ seed: run.seed })
    const checkpoints = linkedStore(world.clock, scenario.link, scenario.onStored)
    return new VirtualSwarm({
      run,
      world,
      network: {
        links: links === undefined ? () => link : (from, to) => links(slotOf(from), slotOf(to)),
      },
      processor: processorOf(scenario, world),
      stages: learningStages({
        run,
        costMs: (method, { slot }) => costMs[method] / (speedOf?.(slot) ?? 1),
        wrap: wrap && ((stage, index, { name }) => wrap(stage, index, name)),
      }),
      data: () => corpusBatches(run, corpus),
      contacts: (host) => this.#contactsOf(host),
      connectMs: CONNECT_MS,
      isOver: () => this.#isOver,
      prepare: ({ network, process }) => {
        if (scenario.messageMs) chargeMessages(network, process!, scenario.messageMs)
        scenario.watch?.(network)
      },
      node: ({ slot }) => ({ checkpoints, domain: domainOf?.(slot) ?? '' }),
    })
  }

  /** The coordinator, then all others. Each is looked at when its turn comes, for it may have died. */
  *#contactsOf({ name }: Host): Iterable<PeerId> {
    const { coordinator, network } = this.#swarm
    for (const contact of new Set([coordinator!, ...network.living])) {
      if (contact !== name && network.living.includes(contact)) yield contact
    }
  }

  #join(slot: number): void {
    const { peers } = this.#swarm
    const { name, network, finished } = this.#swarm.join(`peer-${peers.size + 1}`, slot)
    /** Takes the peer out of the run. True if the run ends with it; the end of a killed peer says nothing. */
    const endsRun = () => network.alive && (name === this.#swarm.coordinator || this.#takeOut(name))
    finished.then(
      (outcome) => {
        if (endsRun()) this.#over.resolve(outcome)
      },
      (error) => {
        if (endsRun()) this.#over.reject(error)
      },
    )
  }

  /** True if the peer was the last one inside: a newcomer would look for a member for ever. */
  #takeOut(name: PeerId): boolean {
    return this.#inside.delete(name) && this.#inside.size === 0
  }

  #lose(name: PeerId): void {
    if (!this.#takeOut(name)) return
    const committed = this.#swarm.roster?.committed ?? 0
    this.#over.resolve({ committed, failure: 'nobody is left who was in the run' })
  }

  #kill(name: PeerId): void {
    this.#swarm.kill(name)
    if (this.#scenario.replaced) this.#join(this.#swarm.slotOf(name))
    this.#lose(name)
  }

  #record(entry: Entry): void {
    const { onEntry, isEnough, deaths } = this.#scenario
    this.#entries.push(entry)
    onEntry?.(entry)
    const enters = entry.type === 'founded' || entry.type === 'joined'
    // A killed peer still journals what its code was about to say.
    if (enters && this.#swarm.network.living.includes(entry.peer)) this.#inside.add(entry.peer)
    if (entry.type === 'dropped') this.#lose(entry.peer)
    if (isEnough?.(entry)) this.#over.resolve(null)
    if (entry.type !== 'step') return
    this.#steps++
    const dead = deaths.filter(({ step }) => step === this.#steps)
    for (const holder of dead.map(({ stage }) => this.#lastHolder(stage))) this.#kill(holder)
  }

  /** The holder of a stage that came last, by the last journaled roster. */
  #lastHolder(stage: number): PeerId {
    const { roster } = this.#swarm
    const holder = roster && holdersOf(roster, stage).at(-1)
    if (!holder) throw new Error(`nobody held stage ${stage}`)
    return holder.peer
  }
}

/** Null where every peer computes at its own pace. */
function processorOf({ cores, messageMs }: Scenario, world: World): Processor | null {
  const shared = cores ?? null
  if (shared === null && messageMs === undefined) return null
  return new Processor(world, shared ?? Number.POSITIVE_INFINITY)
}
