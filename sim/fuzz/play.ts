/**
 * Plays the history of one seed with the node's own code and checks the invariants. Long because it
 * holds the class Play and its constants.
 */
import * as agreement from '../../protocols/agreement.ts'
import type { Roster } from '../../protocols/membership.ts'
import * as membership from '../../protocols/membership.ts'
import { microbatch } from '../../protocols/microbatch.ts'
import type { PeerId } from '../../protocols/network.ts'
import * as step from '../../protocols/step.ts'
import type { Entry } from '../../src/base/journal.ts'
import type { Store } from '../../src/checkpoint/store.ts'
import { ordersOf } from '../../src/coordinator/journeys.ts'
import type { Finished } from '../../src/membership/member-events.ts'
import { type Run, runId } from '../../src/run/run.ts'
import { Random } from '../../stages/random.ts'
import type { AnyStage } from '../../stages/stage.ts'
import { costBatches } from '../cost-batches.ts'
import { CRASHED_SHARE_MAX, type Theatre, unleash } from '../faults.ts'
import { type Host, VirtualSwarm } from '../virtual-swarm.ts'
import { createCostStage } from '../world/cost-stage.ts'
import type { Machine } from '../world/machine.ts'
import { MemoryStore } from '../world/memory-store.ts'
import type { LinkTable } from '../world/wire.ts'
import { World, WorldError } from '../world/world.ts'
import { type Case, elementsOf } from './case.ts'
import { disturbCoordinator } from './coordinator-faults.ts'
import { Histories } from './histories.ts'
import { type Checker, INVARIANTS, type InvariantName, votersOf } from './invariants.ts'
import { FuzzPeer } from './peer.ts'
import type { Served } from './tap.ts'

export interface Violation {
  readonly invariant: InvariantName | 'I4' | 'I6'
  readonly what: string
}

export interface Outcome {
  readonly violation: Violation | null
  /** True if the ends lost all their holders, so that the run had to end. Only a copy can bring the ends back. */
  readonly endsLost: boolean
  /** Faults and journal entries of all peers, in order. */
  readonly story: readonly (Entry | { readonly at: number; readonly fault: string })[]
  readonly events: number
  readonly virtualMs: number
}

/** Time from calm until the run must be over: the sum of the longest deadlines that may have begun before calm. */
const PROGRESS_MS = 30 * 60_000
/** Time from the first peer's end until all other peers in the run must have ended. */
const PARTING_MS = 40 * 60_000
const EVENTS_MAX = 3_000_000
const PEERS_MAX = 64
/** Smallest number of members of a roster at which peers may crash. */
const EXPENDABLE_MEMBERS = 5
/** Name under which the fuzzer itself asks questions. */
const ONLOOKER = 'onlooker'
const FOUNDER = 'peer-0'

/** Protocols whose old questions may come again, since a roster, a ballot or a step fences them. */
const FENCED: ReadonlySet<string> = new Set(
  [
    agreement.propose,
    agreement.promise,
    agreement.install,
    step.prepare,
    step.reduce,
    step.evaluate,
    step.gradients,
    step.report,
    microbatch,
  ].map(({ protocol }) => protocol),
)
const REPLAYED_MAX = 256

/** Plays one case. Long because every fault and every check reads the same peers and rosters. */
export class Play {
  readonly #case: Case
  readonly #run: Run
  readonly #runId: string
  readonly #swarm: VirtualSwarm
  readonly #random: Random
  readonly #checkers: readonly Checker[]
  readonly #histories: Histories
  readonly #store = new MemoryStore()
  /** The last peer of each name, in the order of joining. */
  readonly #peers = new Map<PeerId, FuzzPeer>()
  readonly #story: (Entry | { at: number; fault: string })[] = []
  readonly #entries: Entry[] = []
  readonly #over = Promise.withResolvers<void>()
  /** A sample of the questions that were asked, of any age. */
  readonly #asked: Served[] = []
  #violation: Violation | null = null
  #endsLost = false
  /** The newest roster that any peer knows. */
  #newest: Roster | null = null
  /** Rosters that peers have reported, by their bytes. */
  readonly #rosters = new Map<string, Roster>()
  /** Time when a peer first ended with all steps made; null before. */
  #doneAt: number | null = null

  constructor(given: Case) {
    this.#case = given
    this.#run = given.run
    this.#runId = runId(given.run)
    this.#checkers = Object.entries(INVARIANTS).map(([name, invariant]) =>
      invariant(given.run, (what: string) => this.#violate(name as InvariantName, what)),
    )
    this.#histories = new Histories(given.run, this.#runId, (name, what) =>
      this.#violate(name, what),
    )
    this.#swarm = this.#swarmOf(given)
    this.#swarm.onEntry((entry) => this.#record(entry))
    this.#random = this.#swarm.world.random.stream('play')
  }

  async run(): Promise<Outcome> {
    const { calmAtMs } = this.#case
    const { world } = this.#swarm
    this.#joinAll()
    this.#disturb()
    world.schedule(calmAtMs, 'calm', () => this.#becomeCalm())
    world.schedule(calmAtMs + PROGRESS_MS, 'the end of patience', () => {
      if (this.#doneAt === null) this.#violate('I4', `${this.#unended()} make no progress`)
    })
    try {
      await this.#swarm.run(this.#over.promise, {
        waitingFor: 'all peers to end',
        untilMs: calmAtMs + PROGRESS_MS + PARTING_MS,
      })
    } catch (error) {
      if (!(error instanceof WorldError)) throw error
      this.#violate('I4', `${this.#unended()} go on for ever: ${error.message}`)
    }
    if (this.#violation === null) {
      for (const checker of this.#checkers) checker.end?.(this.#entries, this.#run.steps)
    }
    return {
      violation: this.#violation,
      endsLost: this.#endsLost,
      story: this.#story,
      events: world.fired,
      virtualMs: world.clock.now(),
    }
  }

  #swarmOf(given: Case): VirtualSwarm {
    return new VirtualSwarm({
      run: given.run,
      world: new World({ seed: given.seed, eventsMax: EVENTS_MAX }),
      network: { links: linksOf(given), gossip: false },
      contacts: ({ name }) => this.#contactsOf(name),
      isOver: () => this.#doneAt !== null,
      prepare: (host) => {
        // A name that is used again moves to the end.
        this.#peers.delete(host.name)
        this.#peers.set(
          host.name,
          new FuzzPeer(host, this.#runId, (served) => this.#served(served)),
        )
      },
      stages: (host, index, isSecond) => this.#build(host, index, isSecond),
      data: ({ name }) =>
        costBatches((step, index) => {
          for (const checker of this.#checkers) checker.read?.(name, step, index)
        }),
      node: ({ name, network: { machine } }) => {
        const peer = this.#peers.get(name)!
        return {
          checkpoints: this.#storeOf(machine),
          domain: `host-${this.#random.integer(8)}`,
          save: async ({ weights }, stage) => {
            peer.kept = { stage, weights: [...weights] }
            return name
          },
        }
      },
    })
  }

  #joinAll(): void {
    const { peers, stepMs } = this.#case
    this.#start(FOUNDER)
    for (let i = 1; i < peers; i++) {
      const ms = stepMs * this.#random.float()
      this.#swarm.world.schedule(ms, 'a peer joins', () => this.#start(`peer-${i}`))
    }
  }

  /** Starts all faults of the case. */
  #disturb(): void {
    const { stepMs, faults, gapMs, lengthMs, calmAtMs, coordinator, replays } = this.#case
    const { world, network } = this.#swarm
    const tell = (fault: string) => this.#tell(fault)
    const random = world.random.stream('storm')
    unleash(this.#theatre(), { faults, gapMs, lengthMs, calmAtMs, random, tell })
    if (replays) this.#replay(stepMs / 8)
    if (coordinator === null) return
    disturbCoordinator({
      world,
      network,
      coordinator: () => {
        const { members, coordinator } = this.#newest ?? { members: [], coordinator: 0 }
        return members.find(({ id }) => id === coordinator)?.peer
      },
      ...coordinator,
      calmAtMs,
      tell,
    })
  }

  #becomeCalm(): void {
    this.#tell('calm')
    // The number of peers is large enough that no stage waits for a peer to take it.
    for (let i = 0; this.#swarm.network.living.length < this.#run.stages + 3; i++) {
      if (this.#doneAt !== null) break
      this.#start(`late-${i}`)
    }
  }

  #tell(fault: string): void {
    this.#story.push({ at: this.#swarm.world.clock.now(), fault })
  }

  /** Fencing (I6): sends an old question again, which must change nothing. */
  #replay(everyMs: number): void {
    const { world, network } = this.#swarm
    const again = () => {
      if (world.clock.now() >= this.#case.calmAtMs) return
      world.schedule(everyMs, 'a question comes again', again)
      const old = this.#asked[this.#random.integer(this.#asked.length)]
      const asked = old && this.#peers.get(old.peer)
      if (!asked?.runs || !network.living.includes(old!.peer)) return
      const { peer, from, protocol, question, body } = old!
      const fire = () => void asked.tap.ask(from, protocol, question, body).catch(() => {})
      network.machineOf(peer).schedule(0, 'a question comes again', fire)
    }
    world.schedule(everyMs, 'a question comes again', again)
  }

  #theatre(): Theatre {
    const { world, network } = this.#swarm
    return {
      world,
      network,
      expendable: () => this.#expendable(),
      crash: (peer) => {
        this.#peers.get(peer)!.crashed = true
        this.#swarm.crash(peer)
        this.#look()
      },
      start: (peer) => {
        const { living } = network
        if (this.#doneAt !== null || living.includes(peer) || living.length >= PEERS_MAX) return
        this.#start(peer)
      },
    }
  }

  /** Peers that may crash while a majority of the voters and a holder of the ends remain. */
  #expendable(): PeerId[] {
    const { living } = this.#swarm.network
    const hasStore = this.#case.store !== null
    const roster = this.#newest
    // In a small roster one more loss is too many, because the next roster may already lack other members.
    if (roster === null || roster.members.length < EXPENDABLE_MEMBERS) return []
    const present = roster.members.filter(({ peer, session }) => {
      const known = this.#peers.get(peer)
      return known?.runs && known.bornAt <= session
    })
    const ends = present.filter(({ stage }) => stage === 0)
    if (!hasStore && ends.length === 0) return []
    // One fault may take several peers.
    const lost = Math.max(1, Math.floor(CRASHED_SHARE_MAX * living.length))
    const voters = votersOf(roster)
    const voting = present.filter((member) => voters.includes(member))
    if (2 * (voting.length - lost) <= voters.length) return []
    // A checkpoint also brings the ends back.
    const needed = new Set(hasStore ? [] : ends.slice(0, 2).map(({ peer }) => peer))
    return living.filter((peer) => !needed.has(peer))
  }

  /** The store that all peers share, with the delays and failures of the case. A crash ends the writes of a peer. */
  #storeOf({ clock }: Machine): Store | null {
    const { store: how } = this.#case
    if (how === null) return null
    const random = this.#swarm.world.random.stream('store')
    const store = this.#store
    return {
      location: store.location,
      list: (prefix) => store.list(prefix),
      read: (name, offset, into) => store.read(name, offset, into),
      remove: (name) => store.remove(name),
      async write(name, content) {
        const fails = random.float() < how.failing
        await clock.sleep(2 * random.float() * how.writeMs)
        if (fails) throw new Error('ENOSPC: no space left on device')
        await store.write(name, content)
      },
    }
  }

  /** All other living peers, whether or not they are in the run. */
  #contactsOf(name: PeerId): PeerId[] {
    const others = this.#swarm.network.living.filter((peer) => peer !== name)
    const contact = others[this.#random.integer(others.length)]
    return contact === undefined ? [] : [contact]
  }

  async #build({ name, network }: Host, index: number, isSecond: boolean): Promise<AnyStage> {
    const { machine } = network
    const peer = this.#peers.get(name)!
    await machine.clock.sleep(this.#case.buildMs * machine.slowness)
    const stage: AnyStage = createCostStage(index, {
      machine,
      costMs: this.#case.costMs,
      stages: this.#run.stages,
      ordersOf: (step) => ordersOf(this.#run, step),
      elements: elementsOf(this.#run),
      violated: (what) => this.#violate('I6', `${name}: ${what}`),
      updated: (sums) => {
        const before = [...stage.weights]
        for (const checker of this.#checkersOf(peer)) {
          checker.updated?.({ peer: name, stage: index, before, sums })
        }
      },
    })
    if (!isSecond) peer.built.set(index, stage)
    return stage
  }

  #start(name: PeerId): void {
    const { network, finished } = this.#swarm.join(name)
    const peer = this.#peers.get(name)!
    finished.then(
      (outcome) => {
        if (peer.kept !== null) {
          const { stage, weights } = peer.kept
          for (const checker of this.#checkersOf(peer)) {
            checker.kept?.(name, stage, weights, outcome)
          }
        }
        this.#end(peer, outcome)
        void network.stop()
      },
      (error) => {
        this.#end(peer, error)
        void network.stop()
      },
    )
  }

  #record(entry: Entry): void {
    if (entry.type === 'refused' && entry.from === ONLOOKER) return
    this.#story.push(entry)
    this.#entries.push(entry)
    if (entry.type === 'incarnated') {
      this.#histories.begin(entry.id, entry.ancestor, entry.step)
      this.#peers.get(entry.peer)!.incarnation = entry.id
    }
    if (entry.type === 'holding') {
      const { peer, stage, strategy } = entry
      const holder = this.#peers.get(peer)!
      const weights = [...holder.built.get(stage)!.weights]
      for (const checker of this.#checkersOf(holder)) {
        checker.built?.(peer, stage, strategy, weights)
      }
    }
    for (const checker of this.#checkers) checker.wrote?.(entry)
    if (entry.type === 'elected') this.#readRoster(entry.peer)
  }

  #served(served: Served): void {
    if (served.from === ONLOOKER) return
    const { run } = served.question as { run?: string }
    for (const checker of this.#checkers) checker.served?.(served)
    for (const checker of this.#histories.of(run ?? this.#runId)) checker.served?.(served)
    // A member carries out rosters of its own incarnation only.
    const isInstalled = served.protocol === agreement.install.protocol && 'answer' in served.outcome
    const peer = this.#peers.get(served.peer)
    if (isInstalled && peer !== undefined) peer.incarnation = run!
    if (FENCED.has(served.protocol)) this.#asked[this.#random.integer(REPLAYED_MAX)] = served
    if (served.protocol === agreement.install.protocol) this.#readRoster(served.peer)
  }

  /** Decodes a roster. Equal bytes from several peers give the same object. */
  #decode(peer: PeerId, body: Uint8Array): Roster {
    const bytes = Buffer.from(body).toString('latin1')
    const roster = this.#rosters.get(bytes) ?? membership.decodeRoster(peer, body)
    this.#rosters.set(bytes, roster)
    return roster
  }

  /** Reads the roster that a peer has at this moment. */
  #readRoster(name: PeerId): void {
    const peer = this.#peers.get(name)
    if (!peer?.runs) return
    peer.tap.ask(ONLOOKER, membership.roster.protocol, { run: this.#runId }).then(
      ({ header, body }) => {
        const { incarnation } = header as { incarnation: string }
        const roster = this.#decode(name, body!)
        if (roster.epoch > (this.#newest?.epoch ?? -1)) this.#newest = roster
        const checkers = [...this.#checkers, ...this.#histories.of(incarnation)]
        for (const checker of checkers) checker.roster?.(name, roster)
      },
      () => {},
    )
  }

  /** The machines that check a peer: those of the whole run, and those of its incarnation. */
  #checkersOf(peer: FuzzPeer): readonly Checker[] {
    return [...this.#checkers, ...this.#histories.of(peer.incarnation)]
  }

  #end(peer: FuzzPeer, outcome: Finished | Error): void {
    peer.ended = outcome
    if (peer.crashed) return
    const done = !(outcome instanceof Error) && outcome.failure === null
    if (done) this.#finish(peer.name, outcome)
    else if (this.#doneAt === null) {
      const why = outcome instanceof Error ? (outcome.stack ?? outcome.message) : outcome.failure!
      if (why.includes('stage 0 is lost and no strategy')) this.#endsLost = true
      else if (!this.#endsLost) this.#violate('I4', `${peer.name} gives up: ${why}`)
    }
    if (this.#endsLost) this.#over.resolve()
    this.#look()
  }

  /** Handles a peer's report that the run is finished. All other peers must end soon. */
  #finish(name: PeerId, { committed }: Finished): void {
    if (committed !== this.#run.steps) {
      this.#violate('I4', `${name} is content with ${committed} steps`)
    }
    if (this.#doneAt !== null) return
    const { world } = this.#swarm
    this.#doneAt = world.clock.now()
    world.schedule(PARTING_MS, 'the end of parting', () => {
      const rest = this.#unended()
      if (rest !== '') this.#violate('I4', `the run is over, but ${rest} wait on`)
    })
  }

  /** Ends the history if no peer runs any more. */
  #look(): void {
    for (const { runs } of this.#peers.values()) if (runs) return
    this.#over.resolve()
  }

  #unended(): string {
    return [...this.#peers.values()].flatMap(({ runs, name }) => (runs ? name : [])).join(', ')
  }

  #violate(invariant: Violation['invariant'], what: string): void {
    this.#violation ??= { invariant, what }
    this.#over.resolve()
  }
}

/** Links of peers on a ring. The latency grows with the distance. */
function linksOf({ latencyMs: { least, most }, seed }: Case): LinkTable {
  const places = new Map<PeerId, number>()
  const placeOf = (peer: PeerId) => {
    const known = places.get(peer)
    if (known !== undefined) return known
    const place = new Random(`${seed}/place/${peer}`).float()
    places.set(peer, place)
    return place
  }
  return (from, to) => {
    const apart = Math.abs(placeOf(from) - placeOf(to))
    const far = 2 * Math.min(apart, 1 - apart)
    return { latencyMs: least + (most - least) * far, bytesPerMs: 10_000 }
  }
}
