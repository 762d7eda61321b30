/**
 * A network between peers of one process, in the time of a world. Peers find, call, lose and announce to each other as
 * over libp2p: connections take a handshake, bodies share their sender's uplink, and a peer that dies takes with it
 * what was on its way.
 */
import { ProtocolError } from '../protocols/errors.ts'
import { type Json, LIMITS, type Network, type PeerId } from '../protocols/network.ts'
import { type Medium, VirtualPeer } from './peer.ts'
import { type LinkTable, type Load, Wire } from './wire.ts'
import type { World } from './world.ts'

export interface VirtualNetworkOptions {
  readonly world: World
  readonly links: LinkTable
  /** From the death of a peer until those connected to it notice. */
  readonly detectionMs?: number
  /** Lets all peers find each other as they join, like mDNS on a local network. */
  readonly discovery?: boolean
}

const DETECTION_MS = 10

/**
 * @example
 * ```ts
 * const links = () => ({ latencyMs: 20, bytesPerMs: 1_250 })
 * const network = new VirtualNetwork({ world, links })
 * const founder = network.join('a')
 * const member = network.join('b')
 * member.connect('sim://a', { timeoutMs: 5_000 })
 * network.kill('a')
 * ```
 */
export class VirtualNetwork {
  readonly #world: World
  readonly #wire: Wire
  readonly #detectionMs: number
  readonly #discovery: boolean
  /** Those that are alive. */
  readonly #peers = new Map<PeerId, VirtualPeer>()
  readonly #medium: Medium

  constructor({ world, links, detectionMs, discovery }: VirtualNetworkOptions) {
    this.#world = world
    this.#wire = new Wire(links)
    this.#detectionMs = detectionMs ?? DETECTION_MS
    this.#discovery = discovery ?? false
    this.#medium = {
      clock: world.clock,
      find: (name) => this.#peers.get(name),
      handshake: (from, to, signal) => world.clock.sleep(this.#wire.handshakeMs(from, to), signal),
      send: (...parcel) => this.#send(...parcel),
      announce: (...announcement) => this.#announce(...announcement),
      end: (peer) => this.#end(peer),
    }
  }

  /** A new peer that can be reached at `sim://name`. The name of a dead one may be used again. */
  join(name: PeerId): Network {
    if (this.#peers.has(name)) throw new Error(`there is a peer ${name} already`)
    const peer = new VirtualPeer(name, this.#medium)
    if (this.#discovery) {
      for (const other of this.#peers.values()) {
        this.#discover(peer, other)
        this.#discover(other, peer)
      }
    }
    this.#peers.set(name, peer)
    return peer
  }

  /**
   * Ends a peer without a farewell. Calls of its own fail from now on, so that its code, which is still there, comes
   * to an end; what ends it sooner is to abort its signal as well.
   */
  kill(name: PeerId): void {
    const peer = this.#peers.get(name)
    if (peer === undefined) throw new Error(`there is no peer ${name} to kill`)
    this.#end(peer)
  }

  #send(from: VirtualPeer, to: VirtualPeer, what: string, load: Load, arrive: () => void): void {
    if (!from.alive) return
    const ms = this.#wire.transitMs(this.#world.clock.now(), from.self, to.self, load)
    this.#schedule(from, to, what, ms, arrive)
  }

  #announce(from: VirtualPeer, topic: string, header: Json): void {
    const text = JSON.stringify(header)
    const bytes = Buffer.byteLength(text)
    if (bytes > LIMITS.announcement) {
      throw new ProtocolError(
        'TOO_LARGE',
        `an announcement of ${bytes} bytes is over the limit of ${LIMITS.announcement} bytes`,
      )
    }
    // Whoever listens passes on what it hears. A map can grow while it is walked: this is breadth first.
    const heardAfterMs = new Map([[from, 0]])
    for (const [teller, ms] of heardAfterMs) {
      for (const hearer of teller.connected) {
        if (heardAfterMs.has(hearer) || !hearer.listensTo(topic)) continue
        const afterMs = ms + this.#wire.latencyMs(teller.self, hearer.self)
        heardAfterMs.set(hearer, afterMs)
        this.#schedule(from, hearer, topic, afterMs, () => hearer.hear(from.self, topic, text))
      }
    }
  }

  #discover(finder: VirtualPeer, found: VirtualPeer): void {
    const ms = this.#wire.latencyMs(found.self, finder.self)
    this.#schedule(found, finder, 'discovery', ms, () => finder.discover(found.self))
  }

  #end(peer: VirtualPeer): void {
    if (!peer.alive) return
    this.#peers.delete(peer.self)
    this.#wire.forget(peer.self)
    for (const other of peer.end()) {
      const what = `${other.self} loses ${peer.self}`
      this.#world.schedule(this.#detectionMs, what, () => other.lose(peer))
    }
  }

  /** What is on its way is lost with either end. */
  #schedule(
    from: VirtualPeer,
    to: VirtualPeer,
    what: string,
    ms: number,
    arrive: () => void,
  ): void {
    this.#world.schedule(ms, `${from.self} > ${to.self} ${what}`, () => {
      if (from.alive && to.alive) arrive()
    })
  }
}
