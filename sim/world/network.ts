/**
 * A network between peers of one process, in the time of a world. Peers find, call, lose and announce to each other as
 * over libp2p: connections take a handshake, bodies share their sender's uplink, and a peer that dies takes with it
 * what was on its way.
 */
import { ProtocolError } from '../../protocols/errors.ts'
import { type Json, LIMITS, type PeerId } from '../../protocols/network.ts'
import type { Disturbance } from './disturbance.ts'
import { Machine, type MachineOptions } from './machine.ts'
import { loadOf, type SizeOptions } from './message-size.ts'
import { pack } from './parcel.ts'
import { Passage } from './passage.ts'
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
  /** Lets announcements through, which is so by default. Each is an event for whoever hears it: of a thousand, a million. */
  readonly gossip?: boolean
  /** Hands headers over as they are, not by way of JSON, for worlds of thousands of peers. */
  readonly shareHeaders?: boolean
  /** What a byte of a body counts on the wire: more than 1 where stages move tiny tensors that stand for real ones. */
  readonly bodyScale?: number
}

/** From the death of a peer until those connected to it notice, unless the options say otherwise. */
export const DETECTION_MS = 10

/** A disturbance that goes on, and what it keeps back. */
interface Active {
  readonly disturbance: Disturbance
  readonly blocked: { readonly passage: Passage; readonly ms: number }[]
}

/**
 * @example
 * ```ts
 * const links = () => ({ latencyMs: 20, bytesPerMs: 1_250 })
 * const network = new VirtualNetwork({ world, links })
 * const founder = network.join('a')
 * const member = network.join('b')
 * member.connect('sim://a', { timeoutMs: 5_000 })
 * const heal = network.disturb((from, to) => (from === 'a' && to === 'b' ? 'blocked' : undefined))
 * heal()
 * network.crash('a')
 * ```
 */
export class VirtualNetwork {
  readonly #world: World
  readonly #wire: Wire
  readonly #sizes: SizeOptions
  readonly #detectionMs: number
  readonly #discovery: boolean
  readonly #gossip: boolean
  /** Those that are alive, in the order of their joining. */
  readonly #peers = new Map<PeerId, VirtualPeer>()
  readonly #disturbances = new Set<Active>()
  readonly #medium: Medium

  constructor(options: VirtualNetworkOptions) {
    this.#world = options.world
    this.#wire = new Wire(options.links)
    const { shareHeaders = false, bodyScale = 1 } = options
    this.#sizes = { shareHeaders, bodyScale }
    this.#detectionMs = options.detectionMs ?? DETECTION_MS
    this.#discovery = options.discovery ?? false
    this.#gossip = options.gossip ?? true
    this.#medium = {
      pack: (protocol, message) => {
        const load = loadOf(protocol, message, this.#sizes)
        return pack(message, load, this.#sizes.shareHeaders)
      },
      handshake: (...dial) => this.#handshake(...dial),
      send: (...sent) => this.#send(...sent),
      refuse: (peer, by) => {
        const ms = this.#wire.latencyMs(by.self, peer.self)
        this.#loses(peer, by, ms)
      },
      announce: (...announcement) => this.#announce(...announcement),
      end: (peer) => this.#end(peer),
    }
  }

  /** The names of all that are alive, in the order of their joining. */
  get living(): PeerId[] {
    return [...this.#peers.keys()]
  }

  /**
   * A new peer that can be reached at `sim://name`; its code takes `machine.clock` for its clock. The name of a dead
   * one may be used again.
   */
  join(name: PeerId, machine: MachineOptions = {}): VirtualPeer {
    if (this.#peers.has(name)) throw new Error(`there is a peer ${name} already`)
    const peer = new VirtualPeer(name, new Machine(this.#world, machine), this.#medium)
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
    this.#end(this.#alive(name))
  }

  /** As `kill`, and nothing of its code that waits for its machine runs any more: what `kill -9` does. */
  crash(name: PeerId): void {
    const peer = this.#alive(name)
    peer.machine.end()
    this.#end(peer)
  }

  machineOf(name: PeerId): Machine {
    return this.#alive(name).machine
  }

  /** From now on `disturbance` decides about every message. The returned function ends that, and lets go what is blocked. */
  disturb(disturbance: Disturbance): () => void {
    const active: Active = { disturbance, blocked: [] }
    this.#disturbances.add(active)
    return () => {
      this.#disturbances.delete(active)
      for (const { passage, ms } of active.blocked.splice(0)) {
        const { from, to, kind } = passage
        // What TCP would send again has gone with its connection.
        if (kind !== 'handshake' && !from.isConnectedTo(to)) continue
        this.#dispatch(passage, ms)
      }
    }
  }

  /** One side takes its connection to another for lost; the other side does not hear of it. */
  sever(name: PeerId, other: PeerId): void {
    this.#loses(this.#alive(name), this.#alive(other), 0)
  }

  #alive(name: PeerId): VirtualPeer {
    const peer = this.#peers.get(name)
    if (peer === undefined) throw new Error(`there is no peer ${name}`)
    return peer
  }

  #send(passage: Passage, load: Load): void {
    const { from, to } = passage
    if (!from.alive) return
    const ms = this.#wire.transitMs(this.#world.clock.now(), from.self, to.self, load)
    this.#dispatch(passage, ms * from.machine.slowness)
  }

  /** Half of a handshake there, where it needs the other side's code, and half back. */
  #handshake(from: VirtualPeer, to: PeerId, done: (other: VirtualPeer | undefined) => void): void {
    const half = this.#wire.handshakeMs(from.self, to) / 2
    const other = this.#peers.get(to)
    if (other === undefined) {
      const ms = 2 * half
      this.#world.schedule(ms, 'handshake', () => done(this.#peers.get(to)), from.machine)
      return
    }
    const spoiled = () => {}
    const back = () =>
      this.#dispatch(
        new Passage(other, from, 'handshake', 'hello', spoiled, () => done(other)),
        half,
      )
    this.#dispatch(new Passage(from, other, 'handshake', 'hello', spoiled, back), half)
  }

  #dispatch(passage: Passage, ms: number): void {
    let transitMs = ms
    for (const { disturbance, blocked } of this.#disturbances) {
      const { from, to, kind } = passage
      const fate = disturbance(from.self, to.self, kind)
      if (fate === undefined) continue
      if (fate === 'blocked') {
        blocked.push({ passage, ms })
        return
      }
      if (fate === 'swallowed') return
      if (fate === 'reset') {
        this.#loses(from, to, transitMs)
        this.#loses(to, from, transitMs)
        return
      }
      if (fate === 'corrupt') {
        // Whoever asked hears of it, at either end of the way.
        const asker = kind === 'question' ? from : to
        this.#world.schedule(transitMs, passage, () => passage.spoil(), asker.machine)
        return
      }
      if ('delayMs' in fate) transitMs += fate.delayMs
      else if (kind === 'question') {
        passage.unanswered = true
        this.#arrives(passage, transitMs + fate.againAfterMs)
      }
    }
    const { from, to } = passage
    // The host is there and knows of no such connection: TCP resets it.
    if (to.alive) this.#arrives(passage, transitMs)
    else this.#loses(from, to, transitMs + this.#wire.latencyMs(to.self, from.self))
  }

  #arrives(passage: Passage, ms: number): void {
    this.#world.schedule(ms, passage, () => passage.arrive(), passage.to.machine)
  }

  #loses(peer: VirtualPeer, other: VirtualPeer, ms: number): void {
    const what = `${peer.self} loses ${other.self}`
    this.#world.schedule(ms, what, () => peer.lose(other), peer.machine)
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
    if (!this.#gossip) return
    // Whoever listens passes on what it hears. A map can grow while it is walked: this is breadth first.
    const heardAfterMs = new Map([[from, 0]])
    for (const [teller, ms] of heardAfterMs) {
      for (const hearer of teller.connected) {
        if (heardAfterMs.has(hearer) || !hearer.listensTo(topic)) continue
        const afterMs = ms + this.#wire.latencyMs(teller.self, hearer.self)
        heardAfterMs.set(hearer, afterMs)
        const hear = () => hearer.hear(from.self, topic, text)
        this.#dispatch(new Passage(from, hearer, 'announcement', topic, () => {}, hear), afterMs)
      }
    }
  }

  #discover(finder: VirtualPeer, found: VirtualPeer): void {
    const ms = this.#wire.latencyMs(found.self, finder.self)
    const discover = () => finder.discover(found.self)
    this.#dispatch(new Passage(found, finder, 'announcement', 'discovery', () => {}, discover), ms)
  }

  #end(peer: VirtualPeer): void {
    if (!peer.alive) return
    this.#peers.delete(peer.self)
    this.#wire.forget(peer.self)
    // Who was killed while it stood still finds out that it is dead.
    peer.machine.thaw()
    for (const other of peer.end()) this.#loses(other, peer, this.#detectionMs)
  }
}
