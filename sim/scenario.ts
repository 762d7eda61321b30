/**
 * One history of a swarm: nodes of src under virtual time, with stages that learn and may lose their holders. The history
 * is a function of its settings. The same settings give the same journal, byte for byte.
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

/** The loss of a stage's holder after a given step. */
export interface Death {
  /** Number of committed steps after which the holder dies. Steps that are repeated after a rollback count again. */
  readonly step: number
  readonly stage: number
}

export interface Scenario {
  readonly run: Run
  readonly corpus: Corpus
  readonly spares: number
  readonly deaths: readonly Death[]
  /** True if another peer joins in place of each lost peer, so that the number of spares stays the same. */
  readonly replaced: boolean
  /** Link between any two peers, and to the store. */
  readonly link: Link
  /** Link between the peers of two slots, where links differ between slots. */
  readonly links?: ((from: number, to: number) => Link) | undefined
  /** Duration of each method of a stage, in milliseconds of virtual time. */
  readonly costMs: Costs
  /** Number of cores that all peers share, which may be a fraction. If null or left out, each peer has its own machine. */
  readonly cores?: number | null | undefined
  /** Processor time that messages cost their peers; none if left out. */
  readonly messageMs?: MessageCost | undefined
  /** Failure domain of the peer of a slot; unknown if left out. */
  readonly domainOf?: ((slot: number) => string) | undefined
  /** Factor by which the peer of a slot is faster than `costMs` states; 1 if left out. */
  readonly speedOf?: ((slot: number) => number) | undefined
  /** Virtual time after which the history is given up. A swarm that waits for a joiner would otherwise never end. */
  readonly limitMs: number
  /** Called with each peer's end of the network before its node uses it. */
  readonly watch?: (peer: VirtualPeer) => void
  readonly onEntry?: (entry: Entry) => void
  /** Wraps each stage that a peer builds. The wrapper runs within the time that the stage takes. */
  readonly wrap?: (stage: AnyStage, index: number, peer: PeerId) => AnyStage
  /** Called with the number of bytes that are written to the store of checkpoints. */
  readonly onStored?: (bytes: number) => void
  /** Called before virtual time begins, with an object that can kill peers at any time. */
  readonly disturb?: (playing: Playing) => void
  /** True for an entry at which the history may end before its last step. */
  readonly isEnough?: (entry: Entry) => boolean
}

/** Duration of each method of a stage, in milliseconds of virtual time. */
export type Costs = Readonly<Record<StageMethod | 'build', number>>

/**
 * A history that is being played, for code that disturbs it. A slot is a place for one peer. Slots have the numbers 0, 1,
 * ... in the order in which the first peers join. A peer that replaces a lost peer gets the slot of the lost peer.
 */
export interface Playing {
  readonly world: World
  /** Kills all holders of a stage. The result is null if the stage has no holder. */
  loseStage(stage: number): Vanished | null
  /** Kills the peer of a slot. The result is null if the slot has no living peer. */
  losePeer(slot: number): Vanished | null
}

interface Vanished {
  /** One of the peers that were killed. */
  readonly peer: PeerId
  /** The stage that the peer held; null for a spare. */
  readonly stage: number | null
  /** True if the stage has no holder left. */
  readonly emptied: boolean
}

/** A home network. Each stage runs on a laptop. */
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
  /** Journal entries of all peers, in the order in which they were written. */
  readonly entries: readonly Entry[]
  /** Result of the coordinator; null if `isEnough` ended the history. */
  readonly finished: Finished | null
  /** Seconds of virtual time that the history took. */
  readonly seconds: number
}

/** Milliseconds that a newcomer waits for one contact. */
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

  /**
   * Gives the coordinator, then all others. Each contact is read when its turn comes, because it may have died meanwhile.
   */
  *#contactsOf({ name }: Host): Iterable<PeerId> {
    const { coordinator, network } = this.#swarm
    for (const contact of new Set([coordinator!, ...network.living])) {
      if (contact !== name && network.living.includes(contact)) yield contact
    }
  }

  #join(slot: number): void {
    const { peers } = this.#swarm
    const { name, network, finished } = this.#swarm.join(`peer-${peers.size + 1}`, slot)
    /**
     * Removes the peer from the run. The result is true if the run ends with this peer. The end of a killed peer does not
     * count.
     */
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

  /** Removes the peer. The result is true if it was the last peer inside, since a newcomer would then search for ever. */
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
    // The code of a killed peer can still write journal entries, which are ignored here.
    if (enters && this.#swarm.network.living.includes(entry.peer)) this.#inside.add(entry.peer)
    if (entry.type === 'dropped') this.#lose(entry.peer)
    if (isEnough?.(entry)) this.#over.resolve(null)
    if (entry.type !== 'step') return
    this.#steps++
    const dead = deaths.filter(({ step }) => step === this.#steps)
    for (const holder of dead.map(({ stage }) => this.#lastHolder(stage))) this.#kill(holder)
  }

  /** The holder that joined a stage last, by the last journaled roster. */
  #lastHolder(stage: number): PeerId {
    const { roster } = this.#swarm
    const holder = roster && holdersOf(roster, stage).at(-1)
    if (!holder) throw new Error(`nobody held stage ${stage}`)
    return holder.peer
  }
}

/** The shared processor of the peers; null if every peer computes at its own pace. */
function processorOf({ cores, messageMs }: Scenario, world: World): Processor | null {
  const shared = cores ?? null
  if (shared === null && messageMs === undefined) return null
  return new Processor(world, shared ?? Number.POSITIVE_INFINITY)
}
