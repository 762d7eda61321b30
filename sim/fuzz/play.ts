/** Plays the history of one seed with the node's own code, and holds it to the invariants all along. */
import * as agreement from '../../protocols/agreement.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Roster } from '../../protocols/membership.ts'
import * as membership from '../../protocols/membership.ts'
import { microbatch } from '../../protocols/microbatch.ts'
import type { PeerId } from '../../protocols/network.ts'
import * as step from '../../protocols/step.ts'
import { createJournal, type Entry } from '../../src/base/journal.ts'
import type { Store } from '../../src/checkpoint/store.ts'
import { ordersOf } from '../../src/coordinator/journeys.ts'
import type { Finished } from '../../src/membership/member-events.ts'
import { runNode } from '../../src/node/node.ts'
import { type Run, runId } from '../../src/run/run.ts'
import { Random } from '../../stages/random.ts'
import type { AnyStage } from '../../stages/stage.ts'
import { type Theatre, unleash } from '../faults.ts'
import { costTokens, createCostStage } from '../world/cost-stage.ts'
import type { Machine } from '../world/machine.ts'
import { MemoryStore } from '../world/memory-store.ts'
import { VirtualNetwork } from '../world/network.ts'
import type { LinkTable } from '../world/wire.ts'
import { World, WorldError } from '../world/world.ts'
import { type Case, elementsOf } from './case.ts'
import { type Checker, INVARIANTS, type InvariantName } from './invariants.ts'
import { type Served, type Tap, tap } from './tap.ts'

export interface Violation {
  readonly invariant: InvariantName | 'I4' | 'I6'
  readonly what: string
}

export interface Outcome {
  readonly violation: Violation | null
  /** The ends, which nothing but a copy brings back, had no holder left: the run had to end. */
  readonly endsLost: boolean
  /** What struck, and what all peers journaled, in order. */
  readonly story: readonly (Entry | { readonly at: number; readonly fault: string })[]
  readonly events: number
  readonly virtualMs: number
}

/** From calm until the run must be over: the longest deadlines that may have begun before it, one after another. */
const PROGRESS_MS = 30 * 60_000
/** From the first peer's end until all others that are in the run must have ended. */
const PARTING_MS = 40 * 60_000
const EVENTS_MAX = 3_000_000
const PEERS_MAX = 64
/** Of a roster: with fewer nobody crashes. */
const EXPENDABLE_MEMBERS = 5
const CONTACT_MS = 1_000
/** Who looks on asks in this name. */
const ONLOOKER = 'onlooker'
const FOUNDER = 'peer-0'

/** Questions that may come again: those that a roster, a ballot or a step fences. */
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

interface Life {
  readonly tap: Tap
  ended: Finished | Error | null
  readonly bornAt: number
}

export class Play {
  readonly #case: Case
  readonly #run: Run
  readonly #runId: string
  readonly #world: World
  readonly #network: VirtualNetwork
  readonly #random: Random
  readonly #checkers: readonly Checker[]
  readonly #store = new MemoryStore()
  readonly #lives = new Map<PeerId, Life>()
  readonly #story: (Entry | { at: number; fault: string })[] = []
  readonly #entries: Entry[] = []
  readonly #over = Promise.withResolvers<void>()
  /** Some of the questions that were asked, of any age. */
  readonly #asked: Served[] = []
  #violation: Violation | null = null
  #endsLost = false
  #newest: Roster | null = null
  /** That peers have told of, by their bytes. */
  readonly #rosters = new Map<string, Roster>()
  #founded = false
  /** When a peer first ended with all steps made; null before. */
  #doneAt: number | null = null

  constructor(given: Case) {
    this.#case = given
    this.#run = given.run
    this.#runId = runId(given.run)
    this.#world = new World({ seed: given.seed, eventsMax: EVENTS_MAX })
    this.#random = this.#world.random.stream('play')
    this.#network = new VirtualNetwork({ world: this.#world, links: linksOf(given), gossip: false })
    this.#checkers = Object.entries(INVARIANTS).map(([name, invariant]) =>
      invariant(given.run, (what: string) => this.#violate(name as InvariantName, what)),
    )
  }

  async run(): Promise<Outcome> {
    const { peers, stepMs, faults, gapMs, lengthMs, calmAtMs } = this.#case
    const world = this.#world
    this.#start(FOUNDER)
    for (let i = 1; i < peers; i++) {
      world.schedule(stepMs * this.#random.float(), 'a peer joins', () => this.#start(`peer-${i}`))
    }
    const tell = (fault: string) => this.#story.push({ at: world.clock.now(), fault })
    const random = world.random.stream('storm')
    unleash(this.#theatre(), { faults, gapMs, lengthMs, calmAtMs, random, tell })
    if (this.#case.replays) this.#replay(stepMs / 8)
    if (this.#case.coordinator !== null) this.#hauntCoordinator(this.#case.coordinator, tell)
    world.schedule(calmAtMs, 'calm', () => {
      tell('calm')
      // So many that no stage need wait for somebody to take it.
      for (let i = 0; this.#network.living.length < this.#run.stages + 3; i++) {
        if (this.#doneAt === null) this.#start(`late-${i}`)
        else break
      }
    })
    world.schedule(calmAtMs + PROGRESS_MS, 'the end of patience', () => {
      if (this.#doneAt === null) this.#violate('I4', `${this.#unended()} make no progress`)
    })
    try {
      const waitingFor = 'all peers to end'
      await world.run(this.#over.promise, {
        waitingFor,
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

  /** Fencing (I6): what was asked long ago comes again, and must change nothing. */
  #replay(everyMs: number): void {
    const world = this.#world
    const again = () => {
      if (world.clock.now() >= this.#case.calmAtMs) return
      world.schedule(everyMs, 'a question comes again', again)
      const old = this.#asked[this.#random.integer(this.#asked.length)]
      const life = old && this.#lives.get(old.peer)
      if (!old || !life || life.ended !== null || !this.#network.living.includes(old.peer)) return
      const { peer, from, protocol, question, body } = old
      const fire = () => void life.tap.ask(from, protocol, question, body).catch(() => {})
      this.#network.machineOf(peer).schedule(0, 'a question comes again', fire)
    }
    world.schedule(everyMs, 'a question comes again', again)
  }

  /** Who coordinates is lost at whatever point of a step it is at, and comes back when others may have its place. */
  #hauntCoordinator(how: { gapMs: number; lengthMs: number }, tell: (what: string) => void): void {
    const world = this.#world
    const random = world.random.stream('coordinator')
    const exponential = (mean: number) => -mean * Math.log(1 - random.float())
    const strike = () => {
      const left = this.#case.calmAtMs - world.clock.now()
      if (left <= 0) return
      world.schedule(exponential(how.gapMs), 'the coordinator is struck', strike)
      const { members, coordinator } = this.#newest ?? { members: [], coordinator: 0 }
      const peer = members.find(({ id }) => id === coordinator)?.peer
      if (peer === undefined || !this.#network.living.includes(peer)) return
      const machine = this.#network.machineOf(peer)
      const stands = random.integer(2) === 0
      const what = `the coordinator ${peer} ${stands ? 'stands still' : 'is cut off'}`
      if (stands && machine.frozen) return
      tell(what)
      if (stands) machine.freeze()
      const heal = stands
        ? () => machine.thaw()
        : this.#network.disturb((from, to) =>
            from === peer || to === peer ? 'blocked' : undefined,
          )
      world.schedule(Math.min(left, exponential(how.lengthMs)), `no more: ${what}`, () => {
        tell(`no more: ${what}`)
        heal()
      })
    }
    world.schedule(exponential(how.gapMs), 'the coordinator is struck', strike)
  }

  #theatre(): Theatre {
    return {
      world: this.#world,
      network: this.#network,
      expendable: () => this.#expendable(),
      crash: (peer) => {
        this.#lives.delete(peer)
        this.#network.crash(peer)
        this.#look()
      },
      start: (peer) => {
        const { living } = this.#network
        if (this.#doneAt !== null || living.includes(peer) || living.length >= PEERS_MAX) return
        this.#start(peer)
      },
    }
  }

  /** Who may crash so that a majority of the roster and a holder of the ends are left. */
  #expendable(): PeerId[] {
    const roster = this.#newest
    // Of a few, one more is too many: the roster that is on its way may be without others already.
    if (roster === null || roster.members.length < EXPENDABLE_MEMBERS) return []
    const present = roster.members.filter(({ peer, session }) => {
      const life = this.#lives.get(peer)
      return life !== undefined && life.ended === null && life.bornAt <= session
    })
    const ends = present.filter(({ stage }) => stage === 0)
    // From a checkpoint the ends come back, too.
    const precious = this.#case.store === null ? ends.slice(0, 2) : []
    // One blow may take several.
    const spare = Math.floor(0.3 * this.#network.living.length)
    if (
      (this.#case.store === null && ends.length === 0) ||
      2 * (present.length - Math.max(1, spare)) <= roster.members.length
    )
      return []
    const sacred = new Set(precious.map(({ peer }) => peer))
    return this.#network.living.filter((peer) => !sacred.has(peer))
  }

  /** The store that all see, as slow and as sound as the case says. What a peer was writing when it crashed is not there. */
  #storeOf({ clock }: Machine): Store | null {
    const { store: how } = this.#case
    if (how === null) return null
    const random = this.#world.random.stream('store')
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

  #start(name: PeerId): void {
    const run = this.#run
    const world = this.#world
    const own = this.#network.join(name)
    const { machine } = own
    const { clock } = machine
    const look = tap(own, (served) => this.#served(served))
    const life: Life = { tap: look, ended: null, bornAt: Math.floor(clock.now()) }
    this.#lives.set(name, life)
    const held = new Map<number, AnyStage>()
    const built = (entry: Entry) => {
      if (entry.type !== 'holding') return
      const weights = [...held.get(entry.stage)!.weights]
      for (const checker of this.#checkers) {
        checker.built?.(name, entry.stage, entry.strategy, weights)
      }
    }
    const record = (entry: Entry) => {
      if (entry.type === 'refused' && entry.from === ONLOOKER) return
      this.#story.push(entry)
      this.#entries.push(entry)
      built(entry)
      for (const checker of this.#checkers) checker.wrote?.(entry)
      if (entry.type === 'elected') this.#readRoster(name)
    }
    let kept: { stage: number; weights: number[] } | null = null
    const finished = runNode({
      run,
      runId: this.#runId,
      network: own,
      clock,
      journal: createJournal(name, () => world.clock.now(), [record]),
      wish: null,
      checkpoints: this.#storeOf(machine),
      lastStep: run.steps,
      signal: new AbortController().signal,
      domain: `host-${this.#random.integer(8)}`,
      discover: async (enter) => {
        if (name === FOUNDER && !this.#founded) {
          this.#founded = true
          return null
        }
        for (;;) {
          if (this.#doneAt !== null) throw new Error('the run is over')
          const contact = this.#contactFor(name)
          const entered = contact === undefined ? null : await entering(contact)
          if (entered !== null) return entered
          await clock.sleep(CONTACT_MS)
        }
        async function entering(contact: PeerId): Promise<PeerId | null> {
          try {
            return await enter(await own.connect(`sim://${contact}`, { timeoutMs: 5_000 }))
          } catch (error) {
            if (error instanceof ProtocolError) return null
            throw error
          }
        }
      },
      createStage: async (index, isSecond) => {
        await new Promise<void>((resolve) => {
          machine.schedule(this.#case.buildMs * machine.slowness, 'building', resolve)
        })
        const stage: AnyStage = createCostStage(index, {
          machine,
          costMs: this.#case.costMs,
          stages: run.stages,
          ordersOf: (step) => ordersOf(run, step),
          elements: elementsOf(run),
          violated: (what) => this.#violate('I6', `${name}: ${what}`),
          updated: (sums) => {
            const before = [...stage.weights]
            for (const checker of this.#checkers) {
              checker.updated?.({ peer: name, stage: index, before, sums })
            }
          },
        })
        if (!isSecond) held.set(index, stage)
        return stage
      },
      loadData: async () => ({
        training: (step, index) => {
          for (const checker of this.#checkers) checker.read?.(name, step, index)
          const tokens = costTokens(step, index, 2)
          return { tokens, targets: tokens }
        },
        heldOut: (index) => {
          const tokens = costTokens(0, index, 2)
          return { tokens, targets: tokens }
        },
      }),
      save: async ({ weights }, stage) => {
        kept = { stage, weights: [...weights] }
        return name
      },
    })
    finished.then(
      (outcome) => {
        if (kept !== null) {
          for (const checker of this.#checkers) {
            checker.kept?.(name, kept.stage, kept.weights, outcome)
          }
        }
        this.#end(name, life, outcome)
        void own.stop()
      },
      (error) => {
        this.#end(name, life, error)
        void own.stop()
      },
    )
  }

  /** Somebody alive, who may be in the run or not. */
  #contactFor(name: PeerId): PeerId | undefined {
    const others = this.#network.living.filter((peer) => peer !== name)
    return others[this.#random.integer(others.length)]
  }

  #served(served: Served): void {
    if (served.from === ONLOOKER) return
    for (const checker of this.#checkers) checker.served?.(served)
    if (FENCED.has(served.protocol)) this.#asked[this.#random.integer(REPLAYED_MAX)] = served
    if (served.protocol === agreement.install.protocol) this.#readRoster(served.peer)
  }

  /** The same bytes, of however many peers, are one object. */
  #decode(peer: PeerId, body: Uint8Array): Roster {
    const bytes = Buffer.from(body).toString('latin1')
    const roster = this.#rosters.get(bytes) ?? membership.decodeRoster(peer, body)
    this.#rosters.set(bytes, roster)
    return roster
  }

  /** What a peer knows of the roster, at this moment. */
  #readRoster(peer: PeerId): void {
    const life = this.#lives.get(peer)
    if (life === undefined || life.ended !== null) return
    life.tap.ask(ONLOOKER, membership.roster.protocol, { run: this.#runId }).then(
      ({ body }) => {
        const roster = this.#decode(peer, body!)
        if (roster.epoch > (this.#newest?.epoch ?? -1)) this.#newest = roster
        for (const checker of this.#checkers) checker.roster?.(peer, roster)
      },
      () => {},
    )
  }

  #end(name: PeerId, life: Life, outcome: Finished | Error): void {
    life.ended = outcome
    if (this.#lives.get(name) !== life) return
    const done = !(outcome instanceof Error) && outcome.failure === null
    if (done) {
      if (outcome.committed !== this.#run.steps) {
        this.#violate('I4', `${name} is content with ${outcome.committed} steps`)
      }
      if (this.#doneAt === null) {
        this.#doneAt = this.#world.clock.now()
        this.#world.schedule(PARTING_MS, 'the end of parting', () => {
          const rest = this.#unended()
          if (rest !== '') this.#violate('I4', `the run is over, but ${rest} wait on`)
        })
      }
    } else if (this.#doneAt === null) {
      const why = outcome instanceof Error ? (outcome.stack ?? outcome.message) : outcome.failure!
      if (why.includes('stage 0 is lost and no strategy')) this.#endsLost = true
      else if (!this.#endsLost) this.#violate('I4', `${name} gives up: ${why}`)
    }
    if (this.#endsLost) this.#over.resolve()
    this.#look()
  }

  #look(): void {
    for (const { ended } of this.#lives.values()) if (ended === null) return
    this.#over.resolve()
  }

  #unended(): string {
    return [...this.#lives].flatMap(([peer, { ended }]) => (ended === null ? peer : [])).join(', ')
  }

  #violate(invariant: Violation['invariant'], what: string): void {
    this.#violation ??= { invariant, what }
    this.#over.resolve()
  }
}

/** Peers lie on a ring; the farther apart, the longer the way. */
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
