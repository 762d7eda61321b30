/** One peer of a virtual network: whom it knows, whom it is connected to, and its calls that have not ended. */
import { type Clock, withDeadline } from '../protocols/clock.ts'
import { ProtocolError } from '../protocols/errors.ts'
import { PREFIX_BYTES } from '../protocols/frame.ts'
import type {
  AcceptBody,
  CallOptions,
  Handler,
  Json,
  Message,
  Network,
  PeerId,
  Received,
} from '../protocols/network.ts'
import { unreachable } from '../protocols/unreachable.ts'
import { encodeError } from '../protocols/wire-error.ts'
import { type Parcel, pack, unpack } from './parcel.ts'
import type { Load } from './wire.ts'

/** What a peer needs of the network around it. */
export interface Medium {
  readonly clock: Clock
  find(name: PeerId): VirtualPeer | undefined
  handshake(from: PeerId, to: PeerId, signal: AbortSignal): Promise<void>
  /** `arrive` is not called if either side dies before. */
  send(from: VirtualPeer, to: VirtualPeer, what: string, load: Load, arrive: () => void): void
  announce(from: VirtualPeer, topic: string, header: Json): void
  end(peer: VirtualPeer): void
}

interface PendingCall {
  readonly to: VirtualPeer
  readonly fail: (why: ProtocolError) => void
}

type Reply = { readonly parcel: Parcel } | { readonly error: ProtocolError }

type Listener = (from: PeerId, header: unknown) => void

const SCHEME = 'sim://'

export class VirtualPeer implements Network {
  readonly self: PeerId
  readonly addresses: readonly string[]
  readonly #medium: Medium
  readonly #handlers = new Map<string, Handler>()
  readonly #topics = new Map<string, Set<Listener>>()
  readonly #lost = new Set<(peer: PeerId) => void>()
  readonly #found = new Set<(peer: PeerId) => void>()
  /** Peers whose address is known. */
  readonly #known = new Set<PeerId>()
  readonly #connections = new Map<PeerId, VirtualPeer>()
  readonly #calls = new Set<PendingCall>()
  #alive = true

  constructor(name: PeerId, medium: Medium) {
    this.self = name
    this.addresses = [SCHEME + name]
    this.#medium = medium
  }

  get alive(): boolean {
    return this.#alive
  }

  get connected(): Iterable<VirtualPeer> {
    return this.#connections.values()
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
    { timeoutMs, signal, accept }: CallOptions,
  ): Promise<Received> {
    const question = pack(message)
    return withDeadline(
      { clock: this.#medium.clock, timeoutMs, signal },
      `peer ${peer} to answer ${protocol}`,
      async (over) => {
        const other = this.#connections.get(peer) ?? (await this.#dial(peer, over))
        return await this.#ask(other, protocol, question, accept, over)
      },
    )
  }

  async connect(address: string, { timeoutMs, signal }: CallOptions): Promise<PeerId> {
    const peer = address.slice(SCHEME.length)
    this.learn(peer, [address])
    try {
      const deadline = { clock: this.#medium.clock, timeoutMs, signal }
      await withDeadline(deadline, 'a connection', (over) => this.#dial(peer, over))
      return peer
    } catch (error) {
      if (signal?.aborted) throw signal.reason
      throw unreachable(address, error)
    }
  }

  learn(peer: PeerId, addresses: readonly string[]): void {
    if (addresses.includes(SCHEME + peer)) this.#known.add(peer)
  }

  publish(topic: string, header: Json): void {
    this.#medium.announce(this, topic, header)
  }

  subscribe(topic: string, listener: Listener): () => void {
    const listeners = this.#topics.get(topic) ?? new Set()
    this.#topics.set(topic, listeners)
    // A listener of one's own, so that the same function may be given twice.
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

  /** Ends its calls, and tells who was connected to it. */
  end(): VirtualPeer[] {
    this.#alive = false
    const connected = [...this.connected]
    this.#connections.clear()
    for (const call of this.#calls) call.fail(lost(`peer ${this.self}, which asked, has ended`))
    return connected
  }

  /** Notices that another has died. A new peer of the same name may have connected in the meantime. */
  lose(other: VirtualPeer): void {
    for (const call of this.#calls) {
      if (call.to === other) call.fail(lost(`the connection to peer ${other.self} is gone`))
    }
    if (this.#connections.get(other.self) !== other) return
    this.#connections.delete(other.self)
    for (const listener of this.#lost) listener(other.self)
  }

  discover(peer: PeerId): void {
    this.#known.add(peer)
    for (const listener of this.#found) listener(peer)
  }

  listensTo(topic: string): boolean {
    return (this.#topics.get(topic)?.size ?? 0) > 0
  }

  hear(from: PeerId, topic: string, text: string): void {
    for (const listener of this.#topics.get(topic) ?? []) listener(from, JSON.parse(text))
  }

  async #dial(peer: PeerId, signal: AbortSignal): Promise<VirtualPeer> {
    const connected = this.#connections.get(peer)
    if (connected !== undefined) return connected
    const cannot = (why: string) => unreachable(`peer ${peer}`, why)
    const ended = 'this peer has ended'
    if (!this.#alive) throw cannot(ended)
    if (peer === this.self) throw cannot('it is this peer')
    if (!this.#known.has(peer)) throw cannot('no address of it is known')
    await this.#medium.handshake(this.self, peer, signal)
    const other = this.#medium.find(peer)
    if (other === undefined) throw cannot('nobody answers at its address')
    if (!this.#alive) throw cannot(ended)
    this.#connected(other)
    other.#connected(this)
    return other
  }

  #connected(other: VirtualPeer): void {
    this.#connections.set(other.self, other)
    this.#known.add(other.self)
  }

  #ask(
    other: VirtualPeer,
    protocol: string,
    question: Parcel,
    accept: AcceptBody | undefined,
    over: AbortSignal,
  ): Promise<Received> {
    const answer = Promise.withResolvers<Received>()
    const call: PendingCall = { to: other, fail: answer.reject }
    this.#calls.add(call)
    over.addEventListener('abort', () => this.#calls.delete(call), { once: true })
    const replied = (reply: Reply) => {
      // The caller has gone: where an answer's body would go may be in use again.
      if (over.aborted) return
      try {
        if ('error' in reply) throw reply.error
        answer.resolve(unpack(reply.parcel, accept))
      } catch (error) {
        answer.reject(error)
      }
    }
    this.#medium.send(this, other, protocol, loadOf(question), async () => {
      const reply = await other.#answer(this.self, protocol, question)
      this.#medium.send(other, this, `answer ${protocol}`, loadOfReply(reply), () => replied(reply))
    })
    return answer.promise
  }

  /** Never rejects: what goes wrong is the reply. */
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
      return { parcel: pack(answer) }
    } catch (error) {
      // The handler ran, so that an answer over the limits must not look like a definite TOO_LARGE.
      return internal(error)
    }
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

function loadOf({ bytes, body }: Parcel): Load {
  return { bytes, queues: body !== undefined }
}

function loadOfReply(reply: Reply): Load {
  if ('parcel' in reply) return loadOf(reply.parcel)
  return { bytes: PREFIX_BYTES + encodeError(reply.error).length, queues: false }
}
