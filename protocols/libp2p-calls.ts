/** The calling side. All calls to one peer on one protocol share a long-lived stream; an id identifies each call. */
import type { Stream } from '@libp2p/interface'
import { type Clock, withDeadline } from './clock.ts'
import { ProtocolError } from './errors.ts'
import { encodeFrame, encodeHeader, type FrameHead } from './frame.ts'
import { FrameStream, type FrameStreamOwner, lost } from './libp2p-stream.ts'
import type { AcceptBody, CallOptions, Message, PeerId, Received } from './network.ts'
import { Tally } from './tally.ts'
import { unreachable } from './unreachable.ts'
import { decodeError } from './wire-error.ts'

/** Unfinished calls to one peer. A further call fails with BUSY. */
export const CALLS_PER_PEER_MAX = 64

/** Deadline for connecting and agreeing on the protocol. A call's own deadline may be shorter. */
const OPEN_MS = 10_000

interface CallsInit {
  readonly clock: Clock
  /** Opens a stream, and connects first if necessary. @throws errors of libp2p */
  open(peer: PeerId, protocol: string, signal: AbortSignal): Promise<Stream>
  garbage(from: PeerId, why: unknown): void
}

export class Calls {
  readonly #init: CallsInit
  readonly #streams = new Map<string, Promise<CallStream>>()
  readonly #pending = new Tally()
  readonly #stopping = new AbortController()

  constructor(init: CallsInit) {
    this.#init = init
  }

  async call(
    peer: PeerId,
    protocol: string,
    message: Message,
    { timeoutMs, signal, accept }: CallOptions,
  ): Promise<Received> {
    const header = encodeHeader(message)
    if (this.#pending.of(peer) >= CALLS_PER_PEER_MAX) {
      throw new ProtocolError('BUSY', `${CALLS_PER_PEER_MAX} calls to peer ${peer} have not ended`)
    }
    return await this.#pending.during(peer, () =>
      withDeadline(
        { clock: this.#init.clock, timeoutMs, signal },
        `peer ${peer} to answer ${protocol}`,
        async (over) => {
          const stream = await this.#stream(peer, protocol)
          over.throwIfAborted()
          return await stream.call(header, message.body, accept, over)
        },
      ),
    )
  }

  /** Ends all calls. */
  async stop(): Promise<void> {
    this.#stopping.abort(new Error('this peer is stopping'))
    const streams = [...this.#streams.values()]
    await Promise.allSettled(streams.map(async (stream) => (await stream).abort(lost())))
  }

  /** Calls that arrive while a stream is being opened wait for the same stream. */
  #stream(peer: PeerId, protocol: string): Promise<CallStream> {
    const key = `${peer} ${protocol}`
    const known = this.#streams.get(key)
    if (known !== undefined) return known
    const forget = () => {
      if (this.#streams.get(key) === opening) this.#streams.delete(key)
    }
    const opening = this.#open(peer, protocol, forget)
    this.#streams.set(key, opening)
    opening.catch(forget)
    return opening
  }

  async #open(peer: PeerId, protocol: string, closed: () => void): Promise<CallStream> {
    const { clock, open, garbage } = this.#init
    try {
      const stream = await withDeadline(
        { clock, timeoutMs: OPEN_MS, signal: this.#stopping.signal },
        `a stream to peer ${peer}`,
        (signal) => open(peer, protocol, signal),
      )
      return new CallStream(stream, { clock, closed, garbage: (why) => garbage(peer, why) })
    } catch (error) {
      if (error instanceof Error && error.name === 'UnsupportedProtocolError') {
        throw new ProtocolError('UNKNOWN_PROTOCOL', `peer ${peer} does not speak ${protocol}`)
      }
      throw unreachable(`peer ${peer}`, error)
    }
  }
}

interface CallStreamInit {
  readonly clock: Clock
  closed(): void
  garbage(why: unknown): void
}

interface Pending {
  readonly accept: AcceptBody | undefined
  readonly answer: PromiseWithResolvers<Received>
}

class CallStream implements FrameStreamOwner {
  readonly #frames: FrameStream
  readonly #pending = new Map<number, Pending>()
  readonly #init: CallStreamInit
  #lastId = 0

  constructor(stream: Stream, init: CallStreamInit) {
    this.#init = init
    this.#frames = new FrameStream(stream, init.clock, this)
  }

  abort(why: Error): void {
    this.#frames.abort(why)
  }

  async call(
    header: Uint8Array,
    body: Uint8Array | undefined,
    accept: AcceptBody | undefined,
    signal: AbortSignal,
  ): Promise<Received> {
    this.#lastId = (this.#lastId + 1) >>> 0
    const id = this.#lastId
    const answer = Promise.withResolvers<Received>()
    // Nothing awaits the answer if sending fails.
    answer.promise.catch(() => {})
    this.#pending.set(id, { accept, answer })
    signal.addEventListener('abort', () => answer.reject(signal.reason), { once: true })
    try {
      await this.#frames.send(encodeFrame({ kind: 'request', id }, header, body), signal)
      // Not earlier: a refusal may arrive while the body is still sent from memory that the caller could reuse.
      return await answer.promise
    } finally {
      this.#pending.delete(id)
      this.#frames.drop(id, 'the call is over')
    }
  }

  closed(): void {
    this.#init.closed()
    this.#rejectAll(lost())
  }

  garbage(why: unknown): void {
    this.#init.garbage(why)
    this.#rejectAll(why)
  }

  accept({ kind, id }: FrameHead, header: unknown, length: number): Uint8Array {
    const accept = this.#pending.get(id)?.accept
    if (kind !== 'answer' || accept === undefined) {
      throw new ProtocolError('REFUSED', 'the answer has a body that the caller did not ask for')
    }
    return accept(header, length)
  }

  received({ kind, id }: FrameHead, message: Received): void {
    const answer = this.#settle(id)
    if (kind === 'answer') answer?.resolve(message)
    else answer?.reject(decodeError(message.header))
  }

  refused({ id }: FrameHead, why: unknown): void {
    this.#settle(id)?.reject(why)
  }

  #rejectAll(why: unknown): void {
    for (const { answer } of this.#pending.values()) answer.reject(why)
    this.#pending.clear()
  }

  /** Removes the call, so that a second answer has no receiver and its body is refused. */
  #settle(id: number): PromiseWithResolvers<Received> | undefined {
    const answer = this.#pending.get(id)?.answer
    this.#pending.delete(id)
    return answer
  }
}
