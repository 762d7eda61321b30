/**
 * The peers of a modelled swarm, and the durations of their messages. The rules are those of `sim/world/wire.ts` and the
 * protocols.
 */
import { CHUNK_BYTES } from '../../../protocols/copies.ts'
import { DETECTION_MS } from '../../world/network.ts'
import { HANDSHAKE_ROUND_TRIPS } from '../../world/wire.ts'
import type { ScaleLink, ScaleNetwork } from './setting.ts'
import type { Timeline } from './timeline.ts'

/** Largest number of chunks of one transfer, so that a large state does not become thousands of events. */
const CHUNKS_MAX = 64

export class Peer {
  /** Its peer id in the roster. */
  readonly name: string
  readonly slot: number
  readonly region: number
  /** How many times longer than at speed 1 the peer works. */
  readonly slowness: number
  alive = true
  diedAt = Number.POSITIVE_INFINITY
  uplinkFreeAt = 0
  /** The owners of its stage's ranges, if the peer is connected to all of them. */
  company: readonly Peer[] | null = null
  /** Times at which the connection with each peer is made. */
  readonly connections = new Map<Peer, number>()

  constructor(name: string, slot: number, region: number, speed: number) {
    this.name = name
    this.slot = slot
    this.region = region
    this.slowness = 1 / speed
  }
}

interface Line {
  readonly latencyMs: number
  readonly bytesPerMs: number
  /** The queue of a shared link; null if only each sender's uplink counts. */
  readonly queue: { freeAt: number } | null
}

function lineOf({ latencyMs, mbitPerSecond }: ScaleLink, shared = false): Line {
  return { latencyMs, bytesPerMs: mbitPerSecond * 125, queue: shared ? { freeAt: 0 } : null }
}

export class Wires {
  /** Names of the regions. `Peer.region` is an index of this list. */
  readonly regions: readonly string[]
  readonly #timeline: Timeline
  readonly #lines: Line[][]

  constructor(timeline: Timeline, { regions, within, between }: ScaleNetwork) {
    this.#timeline = timeline
    this.regions = [...new Set(regions)]
    const inside = lineOf(within)
    this.#lines = this.regions.map(() => [])
    for (const [i, from] of this.regions.entries()) {
      this.#lines[i]![i] = inside
      for (let j = 0; j < i; j++) {
        const to = this.regions[j]!
        const link = between.find(({ regions }) => regions.includes(from) && regions.includes(to))!
        this.#lines[i]![j] = this.#lines[j]![i] = lineOf(link, link.shared)
      }
    }
  }

  line(from: Peer, to: Peer): Line {
    return this.#lines[from.region]![to.region]!
  }

  /** Latency one way between peers of two regions. */
  betweenMs(from: number, to: number): number {
    return this.#lines[from]![to]!.latencyMs
  }

  /** Latency one way; 0 from a peer to itself. */
  latencyMs(from: Peer, to: Peer): number {
    return from === to ? 0 : this.line(from, to).latencyMs
  }

  /** Time until `by` has noticed that `dead` does not answer any more. */
  noticeMs(dead: Peer, by: Peer): number {
    return DETECTION_MS + HANDSHAKE_ROUND_TRIPS * 2 * this.latencyMs(dead, by)
  }

  /** When `by`, which asked `dead` at `askedAt` and waits for an answer, notices the death. */
  missedAt(dead: Peer, by: Peer, askedAt: number): number {
    const brokenAt = dead.diedAt + DETECTION_MS
    return brokenAt < askedAt ? dead.diedAt + this.noticeMs(dead, by) : brokenAt
  }

  /** Time until the two peers are connected. Begins the connection if there is none. */
  connectMs(one: Peer, other: Peer): number {
    if (one === other) return 0
    const { now } = this.#timeline
    const ready = one.connections.get(other)
    if (ready !== undefined) return Math.max(0, ready - now)
    const ms = HANDSHAKE_ROUND_TRIPS * 2 * this.latencyMs(one, other)
    one.connections.set(other, now + ms)
    other.connections.set(one, now + ms)
    return ms
  }

  forget(peer: Peer): void {
    for (const other of peer.connections.keys()) other.connections.delete(peer)
    peer.connections.clear()
  }

  /** Sends a message with a body, which waits in the queue of the sender's uplink. */
  send(from: Peer, to: Peer, bytes: number, arrive: () => void): void {
    const ms = this.connectMs(from, to)
    if (ms > 0) this.#timeline.schedule(ms, () => this.#transmit(from, to, bytes, arrive))
    else this.#transmit(from, to, bytes, arrive)
  }

  /**
   * Fetches so many bytes in chunks from all donors at once. The chunks of a donor that dies come from the others.
   * @param done hears whether all bytes came; not called if `to` dies
   */
  fetch(donors: readonly Peer[], to: Peer, bytes: number, done: (complete: boolean) => void): void {
    this.#chunks(bytes, donors, done, (donor, chunk, next) => {
      const ms = this.connectMs(donor, to) + this.latencyMs(to, donor)
      this.#timeline.schedule(ms, () => {
        if (!to.alive) return
        if (donor.alive) this.send(donor, to, chunk, () => to.alive && next(donor.alive))
        else next(false)
      })
    })
  }

  /** Sends so many bytes in chunks to a keeper. @param done is not called if `from` dies */
  push(from: Peer, to: Peer, bytes: number, done: (complete: boolean) => void): void {
    this.#chunks(bytes, [to], done, (keeper, chunk, next) => {
      this.send(from, keeper, chunk, () => {
        this.#timeline.schedule(
          this.latencyMs(keeper, from),
          () => from.alive && next(keeper.alive),
        )
      })
    })
  }

  #chunks(
    bytes: number,
    partners: readonly Peer[],
    done: (complete: boolean) => void,
    one: (partner: Peer, chunk: number, next: (arrived: boolean) => void) => void,
  ): void {
    const count = Math.max(1, Math.min(CHUNKS_MAX, Math.ceil(bytes / CHUNK_BYTES)))
    let unsent = count
    let arrived = 0
    let working = partners.length
    const idle: Peer[] = []
    const take = (partner: Peer) => {
      if (unsent === 0) {
        idle.push(partner)
        return stop()
      }
      unsent--
      one(partner, bytes / count, (ok) => {
        if (ok) {
          arrived++
          return take(partner)
        }
        unsent++
        // A partner that had no chunk left takes this one.
        const other = idle.pop()
        if (other === undefined) return stop()
        take(other)
      })
    }
    const stop = () => {
      working--
      if (working === 0) done(arrived === count)
    }
    if (partners.length === 0) this.#timeline.schedule(0, () => done(false))
    for (const partner of partners) take(partner)
  }

  #transmit(from: Peer, to: Peer, bytes: number, arrive: () => void): void {
    const { now } = this.#timeline
    if (!from.alive) return
    const { latencyMs, bytesPerMs, queue } = this.line(from, to)
    const sentAt = Math.max(now, from.uplinkFreeAt, queue?.freeAt ?? 0) + bytes / bytesPerMs
    from.uplinkFreeAt = sentAt
    if (queue !== null) queue.freeAt = sentAt
    this.#timeline.schedule(sentAt + latencyMs - now, arrive)
  }
}
