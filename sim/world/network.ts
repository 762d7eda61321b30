/**
 * A network between peers of one process, in virtual time. Peers discover, call, lose and announce to each other as over
 * libp2p. A connection takes a handshake. Bodies share the uplink of their sender. When a peer dies, messages on their way
 * from or to that peer are lost.
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
  /** Milliseconds from the death of a peer until the peers connected to it notice. */
  readonly detectionMs?: number
  /** Makes all peers discover each other when they join, like mDNS on a local network. */
  readonly discovery?: boolean
  /** The network that a peer dials from, as others see it; '' for all peers if left out. */
  readonly hosts?: (peer: PeerId) => string
  /** Delivers announcements; true by default. Each is an event for each of its hearers: a million among a thousand peers. */
  readonly gossip?: boolean
  /** Hands headers over as objects instead of JSON text, for worlds of thousands of peers. */
  readonly shareHeaders?: boolean
  /** Bytes that one byte of a tensor counts on the wire: more than 1 where tiny tensors stand for real ones. */
  readonly bodyScale?: number
}

/** From the death of a peer until those connected to it notice, unless the options say otherwise. */
export const DETECTION_MS = 10

/** A disturbance in force, and the messages that it blocks. */
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
  /** Living peers, in the order of their joining. */
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
      hostOf: options.hosts ?? (() => ''),
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
      hangUp: (peer, other) => {
        const hear = () => other.lose(peer)
        const ms = this.#wire.latencyMs(peer.self, other.self)
        this.#dispatch(new Passage(peer, other, 'announcement', 'end', () => {}, hear), ms)
      },
      announce: (...announcement) => this.#announce(...announcement),
      end: (peer) => this.#end(peer),
    }
  }

  /** Names of the living peers, in the order of their joining. */
  get living(): PeerId[] {
    return [...this.#peers.keys()]
  }

  /**
   * Adds a peer that can be reached at `sim://name`. Its code must use `machine.clock` as its clock. The name of a dead
   * peer may be used again.
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
   * Ends a peer without a word to the others. Its own calls fail from now on, so that its code comes to an end. Code that
   * must end sooner needs its signal aborted, too.
   */
  kill(name: PeerId): void {
    this.#end(this.#alive(name))
  }

  /** As `kill`, and code that waits for an event of the peer's machine never runs again, as after `kill -9`. */
  crash(name: PeerId): void {
    const peer = this.#alive(name)
    peer.machine.end()
    this.#end(peer)
  }

  /** The present address of a living peer. */
  addressOf(name: PeerId): string {
    return this.#alive(name).address
  }

  machineOf(name: PeerId): Machine {
    return this.#alive(name).machine
  }

  /** Makes `disturbance` decide about every message. The returned function ends that and releases blocked messages. */
  disturb(disturbance: Disturbance): () => void {
    const active: Active = { disturbance, blocked: [] }
    this.#disturbances.add(active)
    return () => {
      this.#disturbances.delete(active)
      for (const { passage, ms } of active.blocked.splice(0)) {
        const { from, to, kind } = passage
        // TCP sends nothing again once the connection is gone.
        const connects = kind === 'handshake' || kind === 'welcome'
        if (!connects && !from.isConnectedTo(to)) continue
        this.#dispatch(passage, ms)
      }
    }
  }

  /** Gives a peer another address. Its connections are dead from now on, and neither side is told. */
  move(name: PeerId): void {
    const peer = this.#alive(name)
    peer.move()
    const dead = new Set([...peer.connected].map(({ self }) => self))
    const end = this.disturb((from, to, kind) => {
      const other = from === name ? to : from
      if ((from !== name && to !== name) || !dead.has(other)) return undefined
      if (kind !== 'handshake') return 'swallowed'
      dead.delete(other)
      if (dead.size === 0) end()
      return undefined
    })
  }

  /** Makes peer `name` lose its connection to `other`, which does not notice. */
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

  /** Half of the handshake's time passes on the way there, and half on the way back. */
  #handshake(
    from: VirtualPeer,
    to: PeerId,
    address: string,
    done: (other: VirtualPeer | undefined) => void,
  ): void {
    const half = this.#wire.handshakeMs(from.self, to) / 2
    const found = () => {
      const peer = this.#peers.get(to)
      return peer?.address === address ? peer : undefined
    }
    const other = found()
    if (other === undefined) {
      this.#world.schedule(2 * half, 'handshake', () => done(found()), from.machine)
      return
    }
    const spoiled = () => {}
    const back = () =>
      this.#dispatch(new Passage(other, from, 'welcome', 'hello', spoiled, () => done(other)), half)
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
        // The asker is told, whether the question or the answer is corrupt.
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
    // The host of a dead peer resets the TCP connection.
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
    // Each listener passes on what it hears. A map may grow while it is iterated, so this is a breadth-first walk.
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
    const discover = () => finder.discover(found)
    this.#dispatch(new Passage(found, finder, 'announcement', 'discovery', () => {}, discover), ms)
  }

  #end(peer: VirtualPeer): void {
    if (!peer.alive) return
    this.#peers.delete(peer.self)
    this.#wire.forget(peer.self)
    // The code on a frozen machine still has to learn that its peer is dead.
    peer.machine.thaw()
    for (const other of peer.end()) this.#loses(other, peer, this.#detectionMs)
  }
}
