/**
 * A swarm of virtual peers. Each peer runs the node's own code on a virtual network, in the time of one world. The caller
 * provides the stages, the data, and the peers that a newcomer asks.
 */
import { ProtocolError } from '../protocols/errors.ts'
import type { Roster } from '../protocols/membership.ts'
import type { PeerId } from '../protocols/network.ts'
import { createJournal, type Entry } from '../src/base/journal.ts'
import type { Enter } from '../src/membership/discovery.ts'
import type { Finished } from '../src/membership/member-events.ts'
import { holdersOf } from '../src/membership/roster.ts'
import { type NodeOptions, runNode } from '../src/node/node.ts'
import type { BatchSource } from '../src/run/batch-source.ts'
import { type Run, runId } from '../src/run/run.ts'
import type { AnyStage } from '../stages/stage.ts'
import { VirtualNetwork, type VirtualNetworkOptions } from './world/network.ts'
import type { VirtualPeer } from './world/peer.ts'
import type { Process, Processor } from './world/processor.ts'
import type { RunOptions, World } from './world/world.ts'

/** The surroundings of a virtual peer. */
export interface Host {
  readonly name: PeerId
  /** The place of the peer in the swarm. A replacement has the slot of the peer that it replaces. */
  readonly slot: number
  readonly network: VirtualPeer
  readonly world: World
  /** The peer's share of the processor of the swarm; null if each peer has a processor of its own. */
  readonly process: Process | null
}

export interface SwarmPeer extends Host {
  /** Settles when the node has ended. */
  readonly finished: Promise<Finished>
  /** Stops the node as Ctrl-C does. */
  stop(reason?: unknown): void
}

/** Builds a stage for the node of a host. A second stage is kept up to date beside the one that the node holds. */
export type StageBuilder = (host: Host, stage: number, isSecond: boolean) => Promise<AnyStage>

export interface VirtualSwarmOptions {
  readonly run: Run
  /** A world in which nothing has happened yet. */
  readonly world: World
  readonly network: Omit<VirtualNetworkOptions, 'world'>
  /** Processor that all peers share. If null or left out, each peer has a processor of its own. */
  readonly processor?: Processor | null
  readonly stages: StageBuilder
  readonly data: (host: Host) => BatchSource
  /** The peers that a newcomer asks to be let in, in order; left out: the coordinator. */
  readonly contacts?: (host: Host) => Iterable<PeerId>
  /** Milliseconds until a contact that does not answer is given up. */
  readonly connectMs?: number
  /** True when a newcomer can stop searching for the run. */
  readonly isOver?: () => boolean
  /** Called with each host before its node starts. */
  readonly prepare?: (host: Host) => void
  /** Options of a host's node. They extend or replace the options of all nodes. */
  readonly node?: (host: Host) => Partial<NodeOptions>
}

/** Milliseconds between two attempts of a newcomer to find a member of the run. */
const SEARCH_MS = 1_000
const CONNECT_MS = 5_000

/**
 * Runs a node for each virtual peer in one world.
 * @example
 * ```ts
 * const network = { links: () => link }
 * const swarm = new VirtualSwarm({ run, world: new World({ seed: 1 }), network, stages, data })
 * swarm.onEntry((entry) => entries.push(entry))
 * for (let i = 0; i < 5; i++) swarm.join(`peer-${i}`)
 * swarm.world.schedule(5_000, 'a peer is killed', () => swarm.kill('peer-2'))
 * await swarm.end()
 * ```
 */
export class VirtualSwarm {
  readonly world: World
  readonly network: VirtualNetwork
  /** All peers that have joined, by name. A later peer replaces an earlier peer with the same name. */
  readonly peers = new Map<PeerId, SwarmPeer>()
  /** Slots of all peers that have ever joined. A message to a dead peer still needs a link. */
  readonly #slots = new Map<PeerId, number>()
  readonly #options: VirtualSwarmOptions
  readonly #runId: string
  readonly #listeners: ((entry: Entry) => void)[] = []
  #founder: PeerId | null = null
  #hasFounded = false
  #coordinator: PeerId | null = null
  #roster: Roster | null = null

  constructor(options: VirtualSwarmOptions) {
    const { run, world, network } = options
    this.#options = options
    this.#runId = runId(run)
    this.world = world
    this.network = new VirtualNetwork({ world, ...network })
  }

  /** The roster that a coordinator journaled last; null before the first. */
  get roster(): Roster | null {
    return this.#roster
  }

  /** The peer that journaled the last roster; the founder before the first. */
  get coordinator(): PeerId | null {
    return this.#coordinator ?? this.#founder
  }

  /**
   * Starts a peer. The first one founds the run.
   * @param slot the peer's place; the number of peers that have joined before if left out
   */
  join(name: PeerId, slot = this.peers.size, overrides: Partial<NodeOptions> = {}): SwarmPeer {
    const { run, world, processor, stages, data } = this.#options
    this.#founder ??= name
    const network = this.network.join(name)
    this.#slots.set(name, slot)
    const host: Host = { name, slot, network, world, process: processor?.start() ?? null }
    this.#options.prepare?.(host)
    const abort = new AbortController()
    const finished = runNode({
      run,
      runId: this.#runId,
      network,
      clock: network.machine.clock,
      journal: createJournal(name, () => world.clock.now(), [(entry) => this.#record(entry)]),
      wish: null,
      lastStep: run.steps,
      signal: abort.signal,
      discover: (enter) => this.#find(host, enter, abort.signal),
      createStage: (stage, isSecond) => stages(host, stage, isSecond ?? false),
      loadData: async () => data(host),
      ...this.#options.node?.(host),
      ...overrides,
    })
    // The failure is reported to callers that wait for this peer.
    finished.catch(() => {})
    const peer = { ...host, finished, stop: (reason?: unknown) => abort.abort(reason) }
    this.peers.set(name, peer)
    return peer
  }

  /** Kills a peer without notice. Its code still runs after waits for virtual time, but its network is closed. */
  kill(name: PeerId): void {
    const peer = this.peers.get(name)!
    this.network.kill(name)
    peer.process?.end()
    peer.stop(new Error(`${name} was killed`))
  }

  /** Kills a peer without notice. No code of the peer runs afterwards. */
  crash(name: PeerId): void {
    this.network.crash(name)
  }

  /** Calls back for each entry that any peer journals from now on. */
  onEntry(listen: (entry: Entry) => void): void {
    this.#listeners.push(listen)
  }

  /** The peers that are alive, in the order of their joining. */
  get living(): SwarmPeer[] {
    return this.network.living.flatMap((name) => this.peers.get(name) ?? [])
  }

  /** The last living peer of a slot. */
  at(slot: number): PeerId | undefined {
    return this.living.findLast((peer) => peer.slot === slot)?.name
  }

  /** The slot of a peer that has joined, whether or not it is alive. */
  slotOf(name: PeerId): number {
    return this.#slots.get(name)!
  }

  /** The holders of a stage by the last journaled roster that are alive. */
  livingHolders(stage: number): PeerId[] {
    if (this.#roster === null) return []
    const { living } = this.network
    return holdersOf(this.#roster, stage).flatMap(({ peer }) => (living.includes(peer) ? peer : []))
  }

  /** Lets virtual time pass until `outcome` settles. @throws WorldError if it cannot, or not in time */
  run<T>(outcome: Promise<T>, options: RunOptions): Promise<T> {
    return this.world.run(outcome, options)
  }

  /** Lets virtual time pass until the peers that are alive now have ended. */
  async end(untilMs = 600_000): Promise<void> {
    const all = Promise.all(this.living.map(({ finished }) => finished))
    await this.run(all, { waitingFor: 'all peers to end', untilMs })
  }

  #record(entry: Entry): void {
    if (entry.type === 'roster') {
      this.#coordinator = entry.peer
      this.#roster = entry.roster
    }
    for (const listen of [...this.#listeners]) listen(entry)
  }

  /** Asks one contact after another. The result is null for the founder's first start. */
  async #find(host: Host, enter: Enter, signal: AbortSignal): Promise<PeerId | null> {
    const { name, network } = host
    if (name === this.#founder && !this.#hasFounded) {
      this.#hasFounded = true
      return null
    }
    const { contacts, connectMs = CONNECT_MS, isOver } = this.#options
    while (!isOver?.()) {
      for (const contact of contacts?.(host) ?? [this.coordinator!]) {
        try {
          const isAlive = this.network.living.includes(contact)
          const address = isAlive ? this.network.addressOf(contact) : `sim://${contact}`
          const peer = await network.connect(address, { timeoutMs: connectMs, signal })
          const coordinator = await enter(peer)
          if (coordinator !== null) return coordinator
        } catch (error) {
          if (signal.aborted || !(error instanceof ProtocolError)) throw error
        }
      }
      await network.machine.clock.sleep(SEARCH_MS, signal)
    }
    throw new Error('the run is over')
  }
}
