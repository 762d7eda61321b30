/** The answering side: runs handlers for requests on streams that other peers have opened. */
import type { Stream } from '@libp2p/interface'
import type { Clock } from './clock.ts'
import { ProtocolError } from './errors.ts'
import { encodeFrame, encodeHeader, type FrameHead } from './frame.ts'
import { FrameStream, type FrameStreamOwner, lost } from './libp2p-stream.ts'
import type { Handler, Message, PeerId, Received } from './network.ts'
import { Tally } from './tally.ts'
import { asProtocolError, encodeError } from './wire-error.ts'

/** Requests of one peer that are handled at the same time. A further request is answered with BUSY. */
export const REQUESTS_PER_PEER_MAX = 64

export interface ServerInit {
  readonly clock: Clock
  /** Called for a request that is refused before its handler runs. */
  refused(from: PeerId, why: ProtocolError): void
  garbage(from: PeerId, why: unknown): void
}

export class Server {
  readonly #init: ServerInit
  readonly #handlers = new Map<string, Handler>()
  readonly #running = new Tally()
  readonly #streams = new Set<ServedStream>()

  constructor(init: ServerInit) {
    this.#init = init
  }

  handle(protocol: string, handler: Handler): () => void {
    if (this.#handlers.has(protocol)) throw new Error(`${protocol} has a handler already`)
    this.#handlers.set(protocol, handler)
    return () => this.#handlers.delete(protocol)
  }

  /** Must be called in the turn of the event loop that delivers the stream, before its first bytes arrive. */
  serve(stream: Stream, from: PeerId, protocol: string): void {
    const served = new ServedStream(stream, from, {
      ...this.#init,
      running: this.#running,
      handler: () => this.#handlers.get(protocol),
      closed: () => this.#streams.delete(served),
    })
    this.#streams.add(served)
  }

  stop(): void {
    for (const stream of this.#streams) stream.abort()
  }
}

interface ServedInit extends ServerInit {
  readonly running: Tally
  handler(): Handler | undefined
  closed(): void
}

class ServedStream implements FrameStreamOwner {
  readonly #from: PeerId
  readonly #init: ServedInit
  readonly #frames: FrameStream

  constructor(stream: Stream, from: PeerId, init: ServedInit) {
    this.#from = from
    this.#init = init
    this.#frames = new FrameStream(stream, init.clock, this)
  }

  abort(): void {
    this.#frames.abort(lost())
  }

  closed(): void {
    this.#init.closed()
  }

  garbage(why: unknown): void {
    this.#init.garbage(this.#from, why)
  }

  accept(head: FrameHead, header: unknown, length: number): Uint8Array {
    const handler = this.#handlerOf(head)
    if (handler.accept === undefined) {
      throw new ProtocolError('REFUSED', 'this protocol takes no body')
    }
    this.#assertRoom()
    return handler.accept(this.#from, header, length)
  }

  received(head: FrameHead, message: Received): void {
    try {
      const handler = this.#handlerOf(head)
      // `accept` has checked the limit for a request with a body.
      if (message.body === undefined) this.#assertRoom()
      void this.#init.running.during(this.#from, () => this.#answer(head, handler, message))
    } catch (refusal) {
      this.refused(head, refusal)
    }
  }

  refused({ id }: FrameHead, why: unknown): void {
    const error = asProtocolError(why)
    this.#init.refused(this.#from, error)
    void this.#send(encodeFrame({ kind: 'error', id }, encodeError(error)))
  }

  #handlerOf({ kind }: FrameHead): Handler {
    if (kind !== 'request') throw new ProtocolError('REFUSED', 'only requests are answered here')
    const handler = this.#init.handler()
    if (handler === undefined) {
      throw new ProtocolError('UNKNOWN_PROTOCOL', 'this protocol is no longer spoken')
    }
    return handler
  }

  #assertRoom(): void {
    if (this.#init.running.of(this.#from) >= REQUESTS_PER_PEER_MAX) {
      throw new ProtocolError('BUSY', `${REQUESTS_PER_PEER_MAX} requests are being handled already`)
    }
  }

  async #answer({ id }: FrameHead, handler: Handler, message: Received): Promise<void> {
    await this.#send(await this.#frameOfAnswer(id, handler, message))
  }

  async #frameOfAnswer(
    id: number,
    handler: Handler,
    message: Received,
  ): Promise<Iterable<Uint8Array>> {
    let answer: Message
    try {
      answer = await handler.handle(this.#from, message)
    } catch (error) {
      return encodeFrame({ kind: 'error', id }, encodeError(asProtocolError(error)))
    }
    try {
      return encodeFrame({ kind: 'answer', id }, encodeHeader(answer), answer.body)
    } catch (error) {
      // The handler ran. TOO_LARGE would tell the caller that it did not.
      return encodeFrame({ kind: 'error', id }, encodeError(asProtocolError(error, 'INTERNAL')))
    }
  }

  async #send(frame: Iterable<Uint8Array>): Promise<void> {
    try {
      await this.#frames.send(frame)
    } catch (error) {
      // The peer does not read its answers, or has left. Its calls end with the stream.
      this.#frames.abort(asProtocolError(error))
    }
  }
}
