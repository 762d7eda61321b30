/** The modelled swarm: its peers, its roster, its losses, and its counters. The coordinator makes the decisions. */

import type { Change } from '../../../protocols/agreement.ts'
import { HOUR_MS } from '../../../protocols/clock.ts'
import type { Member, Roster } from '../../../protocols/membership.ts'
import {
  applyChange,
  emptyStages,
  foundingRoster,
  holdersOf,
  memberById,
  newcomersOf,
} from '../../../src/membership/roster.ts'
import type { RecoveryResult } from '../results.ts'
import type { ScaleSetting } from './setting.ts'
import { Timeline } from './timeline.ts'
import { Peer, Wires } from './wires.ts'

/** Milliseconds until a peer whose question was not answered looks for the coordinator again. */
const LOOK_MS = 1_000

/** Number of steps until members' speeds are known and their connections are made. */
export const WARM_STEPS = 6

/** Purposes by which bytes are counted. */
const PURPOSES = ['activations', 'gradients', 'weights', 'upkeep', 'agreement', 'store'] as const
export type Purpose = (typeof PURPOSES)[number]

type Newcomer = Omit<Member, 'id' | 'stage' | 'ready'>

/** The events that the coordinator hears of. */
export interface Listener {
  /** Called when a member does not answer any more. */
  lose(id: number): void
  /** Called when a peer waits to be let in. */
  welcome(): void
}

/** Long because a death and a change of the roster alter peers, roster and counters together. */
export class Swarm {
  readonly setting: ScaleSetting
  readonly timeline = new Timeline()
  readonly wires: Wires
  readonly bytes: Record<Purpose, number>
  readonly recoveries: RecoveryResult[] = []
  /** Losses of the last holder of a stage. */
  readonly emptied: { hours: number; stage: number }[] = []
  roster: Roster
  coordinator: Peer
  listener: Listener | null = null
  joining: Newcomer[] = []
  /** Number of steps after the first ones. A step that is made again counts again. */
  made = 0
  /** Number of made steps that a rollback gave up. */
  lostSteps = 0
  /** When the last step was made. */
  madeAt = 0
  /** When the first steps were made. From then on hours count and peers are lost. Null before. */
  begunAt: number | null = null
  /** Members that are gone, by id, whether or not the coordinator has noticed. */
  readonly dead = new Map<number, Peer>()
  /** Why the run ended early; null otherwise. */
  failure: string | null = null
  /** Milliseconds that living peers spent without a stage, added up. */
  idleMs = 0
  /** Called at once when a peer dies. */
  onDeath: (peer: Peer) => void = () => {}
  /** Called when the roster names another coordinator. */
  onSuccession: () => void = () => {}
  /** Peers that live or are still in the roster, by name. */
  readonly #peers = new Map<string, Peer>()
  readonly #byId = new Map<number, Peer>()
  readonly #slots: (Peer | null)[]
  /** Number of living members, by region. */
  readonly #members: number[]
  readonly #warmAt: number[] = []
  #names = 0
  #living = 0
  #holding = 0
  #countedAt = 0

  constructor(setting: ScaleSetting) {
    this.setting = setting
    this.wires = new Wires(this.timeline, setting.network)
    this.bytes = Object.fromEntries(PURPOSES.map((purpose) => [purpose, 0])) as typeof this.bytes
    this.#slots = new Array(setting.peers).fill(null)
    this.coordinator = this.#start(0)
    this.roster = foundingRoster(this.#newcomer(this.coordinator))
    this.#byId.set(0, this.coordinator)
    this.#members = this.wires.regions.map((_, i) => Number(i === this.coordinator.region))
    for (let slot = 1; slot < setting.peers; slot++) this.#come(slot)
  }

  get hours(): number {
    return this.hoursAt(this.timeline.now)
  }

  hoursAt(ms: number): number {
    return (ms - (this.begunAt ?? 0)) / HOUR_MS
  }

  get untilMs(): number {
    return (this.begunAt ?? 0) + this.setting.hours * HOUR_MS
  }

  /** Undefined for a member that is no longer in the roster. */
  peerOf(id: number): Peer | undefined {
    return this.#byId.get(id)
  }

  peerNamed(name: string): Peer | undefined {
    return this.#peers.get(name)
  }

  livingHolders(stage: number): Peer[] {
    return holdersOf(this.roster, stage).flatMap(({ id }) => {
      const peer = this.#byId.get(id)
      return peer?.alive ? peer : []
    })
  }

  /** Called after each step. */
  stepMade(): void {
    const { now } = this.timeline
    if (this.begunAt === null) {
      this.#warmAt.push(now)
      if (this.#warmAt.length === WARM_STEPS) this.#begin()
      return
    }
    this.made++
    this.madeAt = now
  }

  /** Duration of the last of the first steps, which nothing disturbs; 0 before any. */
  get undisturbedMs(): number {
    const [before = 0, last = before] = this.#warmAt.slice(-2)
    return last - before
  }

  #begin(): void {
    this.begunAt = this.timeline.now
    this.#countedAt = this.timeline.now
    for (const purpose of PURPOSES) this.bytes[purpose] = 0
    for (const loss of this.setting.losses) {
      this.timeline.schedule(loss.hours * HOUR_MS, () => {
        if ('slot' in loss) this.#die(this.#slots[loss.slot] ?? null)
        else for (const peer of this.livingHolders(loss.stage)) this.#die(peer)
      })
    }
  }

  /** Begins the next epoch. */
  apply(change: Change): void {
    this.#count()
    const before = this.roster
    this.roster = applyChange(before, change)
    for (const { id, peer } of newcomersOf(before, this.roster)) {
      const known = this.#peers.get(peer)
      if (known !== undefined) {
        this.#byId.set(id, known)
        this.#members[known.region]!++
        continue
      }
      // The newcomer is gone since it asked. The coordinator notices the loss when it sends the roster.
      const gone = new Peer(peer, -1, this.coordinator.region, 1)
      gone.alive = false
      gone.diedAt = this.timeline.now
      this.#byId.set(id, gone)
      this.dead.set(id, gone)
    }
    if (change.type === 'members') {
      for (const id of change.leave) {
        const peer = this.#byId.get(id)
        if (peer?.alive) this.#members[peer.region]!--
        this.#byId.delete(id)
        this.dead.delete(id)
        if (peer !== undefined && !peer.alive) this.#peers.delete(peer.name)
      }
    }
    if (change.type === 'commit') return
    this.#holding = 0
    for (const { stage, ready } of this.roster.members) if (ready && stage !== null) this.#holding++
  }

  /** Ends the counters, because the time is up or the run has ended. */
  finish(): void {
    if (this.begunAt !== null) this.timeline.now = this.untilMs
    this.#count()
  }

  /** Adds up the time that peers were idle until now. */
  #count(): void {
    const { now } = this.timeline
    if (this.begunAt !== null) {
      this.idleMs += (now - this.#countedAt) * Math.max(0, this.#living - this.#holding)
    }
    this.#countedAt = now
  }

  #start(slot: number): Peer {
    const { network, speeds } = this.setting
    const region = this.wires.regions.indexOf(network.regions[slot % network.regions.length]!)
    const peer = new Peer(`peer-${this.#names++}`, slot, region, speeds[slot % speeds.length]!)
    this.#peers.set(peer.name, peer)
    this.#slots[slot] = peer
    this.#living++
    return peer
  }

  #come(slot: number): void {
    const peer = this.#start(slot)
    this.#knock(peer)
  }

  /** Repeats the request to be let in until a coordinator answers. */
  #knock(peer: Peer): void {
    const { timeline, wires } = this
    if (!peer.alive) return
    const asked = this.coordinator
    const ms = wires.connectMs(peer, asked) + wires.latencyMs(peer, asked)
    timeline.schedule(ms, () => {
      if (!peer.alive) return
      if (!asked.alive || asked !== this.coordinator) {
        timeline.schedule(LOOK_MS, () => this.#knock(peer))
        return
      }
      this.joining.push(this.#newcomer(peer))
      this.listener?.welcome()
    })
  }

  #die(peer: Peer | null): void {
    if (peer === null || !peer.alive || this.begunAt === null) return
    this.#count()
    peer.alive = false
    peer.diedAt = this.timeline.now
    this.#living--
    this.#slots[peer.slot] = null
    this.joining = this.joining.filter(({ peer: name }) => name !== peer.name)
    const member = this.roster.members.find(({ peer: name }) => name === peer.name)
    if (member === undefined) this.#peers.delete(peer.name)
    else {
      this.dead.set(member.id, peer)
      this.#members[peer.region]!--
    }
    if (member?.ready && member.stage !== null) {
      this.#holding--
      if (this.livingHolders(member.stage).length === 0) {
        this.emptied.push({ hours: this.hours, stage: member.stage })
      }
    }
    this.onDeath(peer)
    const { replacementSeconds } = this.setting
    if (replacementSeconds !== null) {
      this.timeline.schedule(replacementSeconds * 1000, () => this.#come(peer.slot))
    }
    this.wires.forget(peer)
    if (peer === this.coordinator) this.#succeed()
    else if (member !== undefined) {
      this.timeline.schedule(this.wires.noticeMs(peer, this.coordinator), () => {
        if (memberById(this.roster, member.id) !== undefined) this.listener?.lose(member.id)
      })
    }
  }

  /** The longest-standing living member replaces a lost coordinator (`src/membership/succession.ts`). */
  #succeed(): void {
    const { timeline, wires, roster } = this
    this.listener = null
    const lost = this.coordinator
    const rank = roster.members
      .filter(({ peer }) => peer !== lost.name)
      .findIndex(({ id }) => this.#byId.get(id)?.alive)
    if (rank < 0) {
      this.failure = 'every member is lost'
      return
    }
    const waiting = this.joining.splice(0).flatMap(({ peer }) => this.#peers.get(peer) ?? [])
    const next = roster.members.filter(({ peer }) => peer !== lost.name)[rank]!
    const peer = this.#byId.get(next.id)!
    const promised = wires.noticeMs(lost, peer) + rank * LOOK_MS + this.quorumMs(peer)
    timeline.schedule(promised, () => {
      if (!peer.alive) return this.#succeed()
      this.coordinator = peer
      const leaving = memberNamed(this.roster, lost.name)
      this.apply({
        type: 'members',
        coordinator: next.id,
        ballot: { round: this.roster.ballot.round + 1, id: next.id },
        join: [],
        leave: leaving === undefined ? [] : [leaving.id],
        assign: [],
        restart: true,
        reason: 'the coordinator is lost',
      })
      this.onSuccession()
      for (const newcomer of waiting) this.#knock(newcomer)
    })
  }

  /** Time until a quorum of the members has answered the asking peer. */
  quorumMs(asking: Peer): number {
    const others = this.#answersOf(asking)
    const members = others.reduce((sum, { count }) => sum + count, 0)
    let needed = Math.ceil((members + 1) / 2) - 1
    for (const { ms, count } of others) {
      if (needed <= 0) return 0
      needed -= count
      if (needed <= 0) return ms
    }
    return 0
  }

  /** Time until the member farthest from the coordinator has answered. */
  get farthestMs(): number {
    return this.#answersOf(this.coordinator).at(-1)?.ms ?? 0
  }

  /** How long other living members take to answer, by region, the nearest region first. */
  #answersOf(asking: Peer): { readonly ms: number; readonly count: number }[] {
    return this.#members
      .map((count, region) => ({
        ms: 2 * this.wires.betweenMs(asking.region, region),
        count: count - Number(region === asking.region),
      }))
      .filter(({ count }) => count > 0)
      .sort((one, other) => one.ms - other.ms)
  }

  get empty(): number[] {
    return emptyStages(this.roster, this.setting.run.stages)
  }

  /** With several regions, the peers of one region are a failure domain. */
  #newcomer({ name, region }: Peer): Newcomer {
    const { regions } = this.wires
    return {
      peer: name,
      session: region,
      addresses: [],
      domain: regions.length > 1 ? regions[region]! : '',
      host: '',
    }
  }
}

function memberNamed({ members }: Roster, name: string): Member | undefined {
  return members.find(({ peer }) => peer === name)
}
