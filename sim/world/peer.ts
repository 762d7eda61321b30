/** One peer of a virtual network: the peers that it knows, its connections, and its calls that have not ended. */
import { withDeadline } from '../../protocols/clock.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import {
  type CallOptions,
  type Handler,
  type Json,
  type Message,
  type Network,
  type PeerId,
  REDIAL_MS,
  type Received,
} from '../../protocols/network.ts'
import { Shunned } from '../../protocols/shunned.ts'
import { unreachable } from '../../protocols/unreachable.ts'
import type { Machine } from './machine.ts'
import { errorLoad } from './message-size.ts'
import { type Parcel, unpack } from './parcel.ts'
import { Passage } from './passage.ts'
import { PendingCall } from './pending-call.ts'
import type { Load } from './wire.ts'

/** The network, as its peers use it. */
export interface Medium {
  hostOf(peer: PeerId): string
  /** Makes a message ready to be sent. @throws ProtocolError TOO_LARGE */
  pack(protocol: string, message: Message): Parcel
  /** One round trip. `done` gets the peer that answered, and is never called if none can. */
  handshake(
    from: VirtualPeer,
    to: PeerId,
    address: string,
    done: (other: VirtualPeer | undefined) => void,
  ): void
  send(passage: Passage, load: Load): void
  /** Tells `peer` that `by` does not know the connection on which `peer` sent. */
  refuse(peer: VirtualPeer, by: VirtualPeer): void
  /** Tells `other` that `peer` has ended the connection, unless a disturbance keeps that from arriving. */
  hangUp(peer: VirtualPeer, other: VirtualPeer): void
  announce(from: VirtualPeer, topic: string, header: Json): void
  end(peer: VirtualPeer): void
}

type Reply = { readonly parcel: Parcel } | { readonly error: ProtocolError }

type Listener = (from: PeerId, header: unknown) => void

const SCHEME = 'sim://'

/** Precedes the number of the address of a peer that has moved. */
const MOVED = '@'

/** A peer that does not answer for so long cannot be reached, as over libp2p. */
const DIAL_MS = 10_000

export class VirtualPeer implements Network {
  readonly self: PeerId
  /** The machine that runs the peer's code. */
  readonly machine: Machine
  readonly #medium: Medium
  readonly #handlers = new Map<string, Handler>()
  readonly #topics = new Map<string, Set<Listener>>()
  readonly #lost = new Set<(peer: PeerId) => void>()
  readonly #found = new Set<(peer: PeerId) => void>()
  /** Known addresses: those of wanted peers, and of those that a connection to this peer stands to. */
  readonly #known = new Map<PeerId, string>()
  /** Peers whose address stays known without a connection. */
  readonly #wanted = new Set<PeerId>()
  readonly #connections = new Map<PeerId, VirtualPeer>()
  /** When each connection was made, in milliseconds of this peer's clock. */
  readonly #connectedAt = new Map<PeerId, number>()
  readonly #dialing = new Map<PeerId, Promise<VirtualPeer>>()
  readonly #calls = new Set<PendingCall>()
  readonly #callOver = (call: PendingCall) => this.#calls.delete(call)
  readonly #shunned: Shunned
  #alive = true
  /** How often this peer has moved to another address. */
  #moves = 0

  constructor(name: PeerId, machine: Machine, medium: Medium) {
    this.self = name
    this.machine = machine
    this.#medium = medium
    this.#shunned = new Shunned(machine.clock)
  }

  get address(): string {
    return SCHEME + this.self + (this.#moves === 0 ? '' : MOVED + this.#moves)
  }

  get addresses(): readonly string[] {
    return [this.address]
  }

  /** Has another address from now on. */
  move(): void {
    this.#moves++
  }

  get alive(): boolean {
    return this.#alive
  }

  get connected(): Iterable<VirtualPeer> {
    return this.#connections.values()
  }

  hostOf(peer: PeerId): string | null {
    return this.#connections.has(peer) ? this.#medium.hostOf(peer) : null
  }

  handle(protocol: string, handler: Handler): () => void {
    if (this.#handlers.has(protocol)) throw new Error(`${protocol} has a handler already`)
    this.#handlers.set(protocol, handler)
    return () => this.#handlers.delete(protocol)
  }

  async call(
    peer: PeerId,
    protocol: string,
    message: Message,
    options: CallOptions,
  ): Promise<Received> {
    const question = this.#medium.pack(protocol, message)
    options.signal?.throwIfAborted()
    const call = new PendingCall(this.machine, peer, protocol, options, this.#callOver)
    this.#calls.add(call)
    const other = this.#connections.get(peer)
    if (other !== undefined) this.#ask(other, protocol, question, call)
    else {
      this.#dial(peer).then(
        (found) => this.#ask(found, protocol, question, call),
        (error) => call.fail(error),
      )
    }
    return call.answer
  }

  async connect(address: string, { timeoutMs, signal }: CallOptions): Promise<PeerId> {
    const [peer] = address.slice(SCHEME.length).split(MOVED) as [PeerId]
    this.learn(peer, [address])
    try {
      const deadline = { clock: this.machine.clock, timeoutMs, signal }
      await withDeadline(deadline, 'a connection', () => this.#dial(peer))
      return peer
    } catch (error) {
      if (signal?.aborted) throw signal.reason
      throw unreachable(address, error)
    }
  }

  learn(peer: PeerId, addresses: readonly string[]): void {
    const [address] = addresses.filter((each) => each.split(MOVED)[0] === SCHEME + peer)
    if (address === undefined) return
    this.#wanted.add(peer)
    this.#known.set(peer, address)
  }

  forget(peer: PeerId): void {
    this.#wanted.delete(peer)
    if (!this.#connections.has(peer)) this.#known.delete(peer)
  }

  disconnect(peer: PeerId, stoodMs = 0): void {
    const other = this.#connections.get(peer)
    if (other === undefined) return
    if (this.machine.clock.now() - this.#connectedAt.get(peer)! < stoodMs) return
    this.#medium.hangUp(this, other)
    this.lose(other)
  }

  shun(peer: PeerId, ms: number): void {
    this.#shunned.add(peer, ms)
    const other = this.#connections.get(peer)
    if (other === undefined) return
    this.#medium.hangUp(this, other)
    this.lose(other)
  }

  publish(topic: string, header: Json): void {
    this.#medium.announce(this, topic, header)
  }

  subscribe(topic: string, listener: Listener): () => void {
    const listeners = this.#topics.get(topic) ?? new Set()
    this.#topics.set(topic, listeners)
    // A new function for each call, so that the same listener may be given twice.
    return listen(listeners, (from, header) => listener(from, header))
  }

  onLost(listener: (peer: PeerId) => void): () => void {
    return listen(this.#lost, listener)
  }

  onFound(listener: (peer: PeerId) => void): () => void {
    return listen(this.#found, listener)
  }

  async stop(): Promise<void> {
    this.#medium.end(this)
  }

  /** Fails all calls of this peer. Returns the peers that were connected to it. */
  end(): VirtualPeer[] {
    this.#alive = false
    const connected = [...this.connected]
    this.#connections.clear()
    for (const call of this.#calls) call.fail(lost(`peer ${this.self}, which asked, has ended`))
    return connected
  }

  /** Drops the connection to a dead peer. A new peer of the same name may have connected meanwhile. */
  lose(other: VirtualPeer): void {
    this.#failCallsTo(other, `the connection to peer ${other.self} is gone`)
    if (this.#connections.get(other.self) !== other) return
    this.#connections.delete(other.self)
    this.#connectedAt.delete(other.self)
    if (!this.#wanted.has(other.self)) this.#known.delete(other.self)
    for (const listener of this.#lost) listener(other.self)
  }

  discover({ self, addresses }: VirtualPeer): void {
    this.learn(self, addresses)
    for (const listener of this.#found) listener(self)
  }

  listensTo(topic: string): boolean {
    return (this.#topics.get(topic)?.size ?? 0) > 0
  }

  hear(from: PeerId, topic: string, text: string): void {
    for (const listener of this.#topics.get(topic) ?? []) listener(from, JSON.parse(text))
  }

  isConnectedTo(other: VirtualPeer): boolean {
    return this.#connections.get(other.self) === other
  }

  /** Calls that want the same connection while it is being made wait for it together. */
  #dial(peer: PeerId): Promise<VirtualPeer> {
    const dialing = this.#dialing.get(peer)
    if (dialing !== undefined) return dialing
    const connecting = this.#connect(peer).finally(() => this.#dialing.delete(peer))
    this.#dialing.set(peer, connecting)
    return connecting
  }

  async #connect(peer: PeerId): Promise<VirtualPeer> {
    const connected = this.#connections.get(peer)
    if (connected !== undefined) return connected
    const cannot = (why: string) => unreachable(`peer ${peer}`, why)
    const ended = 'this peer has ended'
    if (!this.#alive) throw cannot(ended)
    if (peer === this.self) throw cannot('it is this peer')
    if (this.#shunned.has(peer)) throw cannot('it is cut off')
    const address = this.#known.get(peer)
    if (address === undefined) throw cannot('no address of it is known')
    const other = await new Promise<VirtualPeer | undefined>((resolve, reject) => {
      const cancel = this.machine.schedule(DIAL_MS, 'dial', () =>
        reject(cannot(`it did not answer for ${DIAL_MS} ms`)),
      )
      this.#medium.handshake(this, peer, address, (found) => {
        cancel()
        resolve(found)
      })
    })
    if (other === undefined) throw cannot('nobody answers at its address')
    if (other.#shunned.has(this.self)) throw cannot('it has cut this peer off')
    if (!this.#alive) throw cannot(ended)
    this.#connected(other)
    other.#connected(this)
    return other
  }

  #connected(other: VirtualPeer): void {
    const now = this.machine.clock.now()
    const since = this.#connectedAt.get(other.self) ?? now
    if (this.isConnectedTo(other) && now - since > REDIAL_MS) {
      this.#failCallsTo(other, `peer ${other.self} has dialled again`)
    }
    this.#connectedAt.set(other.self, now)
    this.#connections.set(other.self, other)
    this.#known.set(other.self, other.address)
  }

  #failCallsTo(other: VirtualPeer, why: string): void {
    for (const call of this.#calls) if (call.to === other) call.fail(lost(why))
  }

  #ask(other: VirtualPeer, protocol: string, question: Parcel, call: PendingCall): void {
    if (call.settled) return
    call.to = other
    const corrupt = () =>
      call.fail(new ProtocolError('CORRUPT', `the checksum of ${protocol} does not match`))
    const asking = new Passage(this, other, 'question', protocol, corrupt, async () => {
      if (!other.isConnectedTo(this)) return this.#medium.refuse(this, other)
      const reply = await other.#answer(this.self, protocol, question)
      if (asking.unanswered || !other.isConnectedTo(this)) return
      this.#medium.send(
        new Passage(other, this, 'answer', protocol, corrupt, () => settle(call, reply)),
        'parcel' in reply ? reply.parcel.load : errorLoad(reply.error),
      )
    })
    this.#medium.send(asking, question.load)
  }

  /** Never rejects: an error is a reply, too. */
  async #answer(from: PeerId, protocol: string, question: Parcel): Promise<Reply> {
    let answer: Message
    try {
      const handler = this.#handlers.get(protocol)
      if (handler === undefined) {
        throw new ProtocolError('UNKNOWN_PROTOCOL', `peer ${this.self} does not speak ${protocol}`)
      }
      const accept = handler.accept?.bind(handler, from)
      answer = await handler.handle(from, unpack(question, accept))
    } catch (error) {
      if (error instanceof ProtocolError)
        return { error: new ProtocolError(error.code, error.message) }
      return internal(error)
    }
    try {
      return { parcel: this.#medium.pack(protocol, answer) }
    } catch (error) {
      // The handler ran, so an answer over the limits must not look like a definite TOO_LARGE.
      return internal(error)
    }
  }
}

function settle(call: PendingCall, reply: Reply): void {
  // The caller is gone, and the memory for the answer's body may be in use again.
  if (call.settled) return
  try {
    if ('error' in reply) throw reply.error
    call.succeed(unpack(reply.parcel, call.options.accept))
  } catch (error) {
    call.fail(error)
  }
}

function listen<T>(listeners: Set<T>, listener: T): () => void {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

function lost(why: string): ProtocolError {
  return new ProtocolError('PEER_LOST', why)
}

function internal(error: unknown): Reply {
  const message = error instanceof Error ? error.message : String(error)
  return { error: new ProtocolError('INTERNAL', message) }
}
