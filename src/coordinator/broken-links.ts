/** Remembers which pairs of peers cannot talk to each other. A link may heal, so that the memory has an age. */
import type { Clock } from '../../protocols/clock.ts'
import type { PeerId } from '../../protocols/network.ts'
import { BROKEN_LINKS_MAX, TIMEOUTS } from '../base/limits.ts'

interface Broken {
  readonly reason: string
  /** Time of the clock until which the link counts as broken, in milliseconds. */
  readonly until: number
  /** Milliseconds for which it counted as broken the last time. */
  readonly ms: number
}

interface Strikes {
  readonly incidents: ReadonlySet<string>
  readonly at: number
}

export class BrokenLinks {
  readonly #clock: Clock
  /** By both names. */
  readonly #broken = new Map<string, Broken>()
  /** Failures that came back, by sender and receiver. */
  readonly #strikes = new Map<string, Strikes>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** True if no link was ever broken. */
  get isEmpty(): boolean {
    return this.#broken.size === 0
  }

  /** True if the two peers cannot talk, as far as is known and was found lately. */
  has(a: PeerId, b: PeerId): boolean {
    const known = this.#broken.get(pairOf(a, b))
    return known !== undefined && known.until > this.#clock.now()
  }

  /** True if the peer cannot talk to some other, as far as is known and was found lately. */
  hasAny(peer: PeerId): boolean {
    const now = this.#clock.now()
    return [...this.#broken].some(
      ([pair, { until }]) => until > now && pair.split(' ').includes(peer),
    )
  }

  /**
   * The two peers cannot talk. A link that is found broken again counts as broken for twice as long.
   * @returns milliseconds for which it counts as broken
   */
  add(a: PeerId, b: PeerId, reason: string): number {
    const pair = pairOf(a, b)
    const before = this.#broken.get(pair)
    const now = this.#clock.now()
    if (before !== undefined && before.until > now) return before.until - now
    const again = before === undefined ? TIMEOUTS.brokenLinkMs : 2 * before.ms
    const ms = Math.min(again, TIMEOUTS.brokenLinkMaxMs)
    // The pair becomes the newest of the map.
    this.#broken.delete(pair)
    this.#broken.set(pair, { reason, until: now + ms, ms })
    for (const [oldest, { until }] of this.#broken) {
      const isOld = until + TIMEOUTS.brokenLinkMaxMs < now
      if (this.#broken.size <= BROKEN_LINKS_MAX && !isOld) break
      this.#broken.delete(oldest)
    }
    return ms
  }

  /** Notes a failure between two peers. @returns the number of incidents of the last minutes, this one included */
  strike(from: PeerId, to: PeerId, incident: string): number {
    const now = this.#clock.now()
    for (const [key, { at }] of this.#strikes) {
      if (now - at > TIMEOUTS.linkStrikesMs) this.#strikes.delete(key)
    }
    const key = `${from} ${to}`
    const incidents = new Set(this.#strikes.get(key)?.incidents).add(incident)
    this.#strikes.set(key, { incidents, at: now })
    return incidents.size
  }

  /** All links that the last step used have worked. */
  worked(): void {
    this.#strikes.clear()
  }
}

function pairOf(a: PeerId, b: PeerId): string {
  return a < b ? `${a} ${b}` : `${b} ${a}`
}
