/**
 * Plays the history of one seed with the node's own code and checks the invariants. Long because it
 * holds the class Play and its constants.
 */
import * as agreement from '../../protocols/agreement.ts'
import type { Member, Roster } from '../../protocols/membership.ts'
import * as membership from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'
import type { Entry } from '../../src/base/journal.ts'
import { ordersOf } from '../../src/coordinator/journeys.ts'
import type { Finished } from '../../src/membership/member-events.ts'
import { type Run, runId } from '../../src/run/run.ts'
import type { Random } from '../../stages/random.ts'
import type { AnyStage } from '../../stages/stage.ts'
import { costBatches } from '../cost-batches.ts'
import { type Theatre, unleash } from '../faults.ts'
import { type Host, VirtualSwarm } from '../virtual-swarm.ts'
import { createCostStage } from '../world/cost-stage.ts'
import { MemoryStore } from '../world/memory-store.ts'
import { World, WorldError } from '../world/world.ts'
import { type Calamity, strike } from './calamities.ts'
import { type Case, CONVERGED_MS, elementsOf } from './case.ts'
import { disturbCoordinator } from './coordinator-faults.ts'
import { Disks } from './disks.ts'
import { expendable } from './expendable.ts'
import { Histories } from './histories.ts'
import { type Checker, INVARIANTS, type InvariantName } from './invariants.ts'
import { hostsOf, linksOf } from './links.ts'
import { FuzzPeer } from './peer.ts'
import { Replays } from './replays.ts'
import { Rosters } from './rosters.ts'
import { slowStore } from './slow-store.ts'
import { incarnationsOf } from './survey.ts'
import type { Served } from './tap.ts'
import { flawedStage } from './unsound-stage.ts'

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

/** Time from calm until steps must be made: the sum of the longest deadlines that may have begun before calm. */
const PROGRESS_MS = 30 * 60_000
/** After that time the run must be over within so many times the usual duration of all its steps. */
const STEPS_FACTOR = 4
/** Time from the first peer's end until all other peers in the run must have ended. */
const PARTING_MS = 40 * 60_000
const EVENTS_MAX = 3_000_000
/** Name under which the fuzzer itself asks questions. */
const ONLOOKER = 'onlooker'
const FOUNDER = 'peer-0'

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
  readonly #disks = new Disks()
  readonly #unsound = new Set<PeerId>()
  readonly #rosters = new Rosters()
  readonly #replays: Replays
  #violation: Violation | null = null
  #endsLost = false
  /** True from the beginning of a calamity until its end. */
  #isRaging = false
  /** Number of lost processes that will start again. */
  #awaited = 0
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
    this.#replays = new Replays(this.#random)
  }

  async run(): Promise<Outcome> {
    const { calmAtMs, stepMs } = this.#case
    const { world } = this.#swarm
    const unhandled = (error: unknown) =>
      this.#violate('I8', `an error that nobody handles: ${(error as Error).stack ?? error}`)
    process.on('unhandledRejection', unhandled)
    this.#joinAll()
    this.#disturb()
    world.schedule(calmAtMs, 'calm', () => this.#becomeCalm())
    const overAtMs = calmAtMs + PROGRESS_MS + STEPS_FACTOR * stepMs * this.#run.steps
    world.schedule(overAtMs, 'the end of patience', () => {
      if (this.#doneAt === null) this.#violate('I4', `${this.#unended()} make no progress`)
    })
    world.schedule(calmAtMs + CONVERGED_MS, 'the survey', () => void this.#survey())
    try {
      await this.#swarm.run(this.#over.promise, {
        waitingFor: 'all peers to end',
        untilMs: overAtMs + PARTING_MS,
      })
    } catch (error) {
      if (!(error instanceof WorldError)) throw error
      this.#violate('I4', `${this.#unended()} go on for ever: ${error.message}`)
    } finally {
      process.off('unhandledRejection', unhandled)
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
    const world = new World({ seed: given.seed, eventsMax: EVENTS_MAX })
    const storeRandom = world.random.stream('store')
    return new VirtualSwarm({
      run: given.run,
      world,
      network: { links: linksOf(given), hosts: hostsOf(given), gossip: false },
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
      data: ({ name, network: { machine } }) => {
        const { flaws } = this.#peers.get(name)!
        const read = (step: number, index: number) => {
          for (const checker of this.#checkers) checker.read?.(name, step, index)
        }
        return costBatches(read, async () => {
          if (flaws.readMs > 0) await machine.clock.sleep(flaws.readMs)
        })
      },
      node: ({ name, network: { machine } }) => {
        const peer = this.#peers.get(name)!
        const { store } = this.#case
        return {
          ...this.#disks.open(name, machine.clock, peer.flaws),
          checkpoints: store && slowStore(this.#store, store, machine.clock, storeRandom),
          domain: `host-${this.#random.integer(8)}`,
          places: () => this.#contactsOf(name).map((each) => this.#swarm.network.addressOf(each)),
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
    const { stepMs, faults, gapMs, lengthMs, calmAtMs, coordinator, calamity } = this.#case
    const { world, network } = this.#swarm
    const tell = (fault: string) => this.#tell(fault)
    const random = world.random.stream('storm')
    unleash(this.#theatre, { faults, gapMs, lengthMs, calmAtMs, random, tell })
    if (this.#case.replays) {
      this.#replays.begin(world, network, this.#peers, { everyMs: stepMs / 8, calmAtMs })
    }
    if (calamity !== null) {
      world.schedule(calamity.atMs, 'a calamity', () => this.#befall(calamity))
    }
    if (coordinator === null) return
    disturbCoordinator({
      world,
      network,
      coordinator: () => {
        const { members, coordinator } = this.#roster ?? { members: [], coordinator: 0 }
        return members.find(({ id }) => id === coordinator)?.peer
      },
      ...coordinator,
      calmAtMs,
      tell,
    })
  }

  /** Lets the calamity happen as soon as the swarm is in a state that it can go on from. */
  #befall(calamity: Calamity): void {
    const { world, network } = this.#swarm
    const { calmAtMs, stepMs } = this.#case
    const roster = this.#roster
    if (this.#doneAt !== null || world.clock.now() + calamity.lengthMs > calmAtMs) return
    const struck =
      roster === null
        ? null
        : strike({
            calamity,
            calmAtMs,
            world,
            network,
            roster,
            random: world.random.stream('calamity'),
            present: roster.members.filter((member) => this.#processOf(member)?.runs),
            isSound: (peer) => !this.#peers.get(peer)!.flaws.isUnsound,
            crash: (peer) => this.#crash(peer),
            restart: (peer, ms) => this.#restart(peer, ms),
          })
    if (struck === null) {
      world.schedule(stepMs / 4, 'a calamity', () => this.#befall(calamity))
      return
    }
    this.#tell(struck.what)
    this.#isRaging = true
    world.schedule(calamity.lengthMs, 'the end of the calamity', () => {
      this.#tell('the calamity is over')
      struck.end?.()
      this.#isRaging = false
    })
  }

  /** Starts a process of a lost peer again, which finds its disk as it was left. */
  #restart(peer: PeerId, ms: number): void {
    const { world, network } = this.#swarm
    this.#awaited++
    world.schedule(ms, `${peer} comes back`, () => {
      this.#awaited--
      if (this.#doneAt === null && !network.living.includes(peer)) this.#start(peer)
      this.#look()
    })
  }

  #crash(peer: PeerId): void {
    this.#peers.get(peer)!.crashed = true
    this.#swarm.crash(peer)
    this.#look()
  }

  #becomeCalm(): void {
    this.#tell('calm')
    // The number of peers is large enough that no stage waits for a peer to take it.
    const sound = this.#swarm.network.living.filter(
      (peer) => !this.#peers.get(peer)!.flaws.isUnsound,
    )
    const enough = this.#run.stages + 3
    for (let i = sound.length; i < enough && this.#doneAt === null; i++) this.#start(`late-${i}`)
  }

  #tell(fault: string): void {
    this.#story.push({ at: this.#swarm.world.clock.now(), fault })
  }

  get #theatre(): Theatre {
    const { world, network } = this.#swarm
    return {
      world,
      network,
      expendable: () => this.#expendable(),
      flawsOf: (peer) => this.#peers.get(peer)!.flaws,
      unsound: this.#unsound,
      crash: (peer) => this.#crash(peer),
      start: (peer) => {
        const { living } = network
        const { peersMax } = this.#case
        if (this.#doneAt !== null || living.includes(peer) || living.length >= peersMax) return
        this.#start(peer)
      },
    }
  }

  #expendable(): PeerId[] {
    if (this.#isRaging) return []
    const { living } = this.#swarm.network
    const processOf = (member: Member) => this.#processOf(member)
    return expendable(this.#roster, living, processOf, this.#case.store !== null)
  }

  /** The process that a roster names, if it is the last one of its peer. */
  #processOf({ peer, session }: Member): FuzzPeer | undefined {
    const known = this.#peers.get(peer)
    return known !== undefined && known.bornAt <= session ? known : undefined
  }

  /** The newest roster of the incarnation that has the most living peers. */
  get #roster(): Roster | null {
    return this.#rosters.newest((member) => this.#processOf(member)?.runs ?? false)
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
      updated: (sums, { learningRate }) => {
        const before = [...stage.weights]
        // With sound peers only, every step can be computed.
        const isSkipped = learningRate === 0 && this.#unsound.size > 0
        for (const checker of this.#checkersOf(peer)) {
          checker.updated?.({ peer: name, stage: index, before, sums, isSkipped })
        }
      },
    })
    if (!isSecond) peer.built.set(index, stage)
    return flawedStage(stage, peer.flaws)
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
    if (entry.type === 'incarnated' || entry.type === 'returned') {
      this.#histories.begin(entry.id, entry.ancestor, entry.step)
      this.#peers.get(entry.peer)!.incarnation = entry.id
      this.#readRoster(entry.peer)
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
    this.#replays.note(served)
    if (served.protocol === agreement.install.protocol) this.#readRoster(served.peer)
  }

  /** Reads the roster that a peer has at this moment. */
  #readRoster(name: PeerId): void {
    const peer = this.#peers.get(name)
    if (!peer?.runs) return
    peer.tap.ask(ONLOOKER, membership.roster.protocol, { run: this.#runId }).then(
      ({ header, body }) => {
        const { incarnation } = header as { incarnation: string }
        const roster = this.#rosters.decode(name, body!)
        this.#rosters.note(incarnation, roster)
        const checkers = [...this.#checkers, ...this.#histories.of(incarnation)]
        for (const checker of checkers) checker.roster?.(name, roster)
      },
      () => {},
    )
  }

  /** Checks that the peers in the run are in one incarnation of it. */
  async #survey(): Promise<void> {
    if (this.#doneAt !== null) return
    const running = [...this.#peers.values()].filter(({ runs }) => runs)
    const found = await incarnationsOf(running, this.#runId, ONLOOKER)
    if (found.size <= 1 || this.#doneAt !== null) return
    const parts = [...found].map(([id, peers]) => `${id.slice(0, 12)}: ${peers.join(', ')}`)
    this.#violate('I4', `several incarnations are left: ${parts.join('; ')}`)
  }

  /** The machines that check a peer: those of the whole run, and those of its incarnation. */
  #checkersOf(peer: FuzzPeer): readonly Checker[] {
    return [...this.#checkers, ...this.#histories.of(peer.incarnation)]
  }

  #end(peer: FuzzPeer, outcome: Finished | Error): void {
    peer.ended = outcome
    if (peer.crashed) return
    if (peer.flaws.isUnsound) {
      // A peer whose numbers stay unsound is refused in the end.
      this.#look()
      return
    }
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
    if (this.#awaited > 0) return
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
