/**
 * Frames over one libp2p stream, both ways, with the backpressure that libp2p's own streams lack (facts measured with
 * libp2p 3.3: `onDrain()` works once, `lpStream` and async iteration queue without end). Sending watches the write
 * buffer's level; receiving is synchronous, so that nothing queues between the socket and the body's destination.
 */
import type { Stream, StreamMessageEvent } from '@libp2p/interface'
import { pipe } from 'it-pipe'
import { Uint8ArrayList } from 'uint8arraylist'
import { type Clock, withDeadline } from './clock.ts'
import { ProtocolError } from './errors.ts'
import { CHUNK_BYTES } from './frame.ts'
import { FrameDecoder, type FrameReceiver } from './frame-decoder.ts'

/** Frames that wait for one stream. Beyond it a sender is told BUSY. */
const FRAMES_QUEUED_MAX = 64

/** With more than this unsent the sender waits: enough to keep the window full, little to throw away. */
const HIGH_WATER_BYTES = 4 * CHUNK_BYTES

/** Down to this little: waiting for every single chunk costs more than the wait. */
const LOW_WATER_BYTES = CHUNK_BYTES

/** A peer that takes less than what lies between the two in this time is not reading; the stream is given up. */
const STALL_MS = 30_000

interface Outgoing {
  readonly frame: Iterable<Uint8Array>
  readonly signal: AbortSignal | undefined
  readonly sent: PromiseWithResolvers<void>
}

/** What a stream tells its owner besides frames. */
export interface FrameStreamOwner extends FrameReceiver {
  /** Once, after which nothing more comes. */
  closed(): void
  /** The other side sent what is not a frame. */
  garbage(why: unknown): void
}

export class FrameStream {
  readonly #stream: Stream
  readonly #clock: Clock
  readonly #owner: FrameStreamOwner
  readonly #decoder: FrameDecoder
  readonly #queue: Outgoing[] = []
  #sending = false
  /** Resolved by whatever may have lowered the write buffer's level. Only one sender waits at a time. */
  #level: PromiseWithResolvers<void> | undefined

  /** Listens at once: a stream that nobody listens to collects what arrives until it breaks. */
  constructor(stream: Stream, clock: Clock, owner: FrameStreamOwner) {
    this.#stream = stream
    this.#clock = clock
    this.#owner = owner
    this.#decoder = new FrameDecoder(owner)
    stream.addEventListener('message', this.#receive)
    stream.addEventListener('close', this.#close, { once: true })
    stream.addEventListener('remoteCloseWrite', this.#remoteCloseWrite, { once: true })
    stream.addEventListener('drain', this.#wake)
    stream.addEventListener('idle', this.#wake)
    // Either may have happened while the opening was still awaited; then the event has passed.
    if (!this.open) queueMicrotask(this.#close)
    else if (stream.remoteWriteStatus === 'closed') queueMicrotask(this.#remoteCloseWrite)
  }

  get open(): boolean {
    return this.#stream.status === 'open'
  }

  /**
   * Queues a frame; resolves when libp2p has taken its last byte. If the signal aborts before the first byte went out,
   * the frame is withdrawn. If it aborts half-way, the stream is: the rest of a frame cannot be unsaid, and finishing
   * it would hold up everyone behind it for the sake of nobody.
   * @throws ProtocolError BUSY (nothing was sent), PEER_LOST, or the signal's reason
   */
  async send(frame: Iterable<Uint8Array>, signal?: AbortSignal): Promise<void> {
    if (this.#queue.length >= FRAMES_QUEUED_MAX) {
      throw new ProtocolError('BUSY', `${FRAMES_QUEUED_MAX} messages wait for this stream already`)
    }
    const outgoing: Outgoing = { frame, signal, sent: Promise.withResolvers() }
    this.#queue.push(outgoing)
    if (!this.#sending) void this.#sendQueued()
    return outgoing.sent.promise
  }

  /** Stops writing into the memory that was accepted for the body of a call that is over. */
  drop(id: number, why: unknown): void {
    this.#decoder.drop(id, why)
  }

  abort(why: Error): void {
    this.#stream.abort(why)
  }

  async #sendQueued(): Promise<void> {
    this.#sending = true
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
      const { frame, signal, sent } = next
      try {
        signal?.throwIfAborted()
        await pipe(frame, (chunks) => this.#paced(chunks, signal))
        sent.resolve()
      } catch (error) {
        sent.reject(error)
      }
    }
    this.#sending = false
  }

  async #paced(chunks: Iterable<Uint8Array>, signal: AbortSignal | undefined): Promise<void> {
    try {
      for (const chunk of withHead(chunks)) {
        if (!this.open) throw lost()
        this.#stream.send(chunk)
        if (this.#stream.writeBufferLength > HIGH_WATER_BYTES) await this.#drained(signal)
      }
      if (!this.open) throw lost()
    } catch (error) {
      this.#stream.abort(asError(error))
      throw signal?.aborted || error instanceof ProtocolError ? error : lost(error)
    }
  }

  async #drained(signal: AbortSignal | undefined): Promise<void> {
    await withDeadline(
      { clock: this.#clock, timeoutMs: STALL_MS, signal },
      'the peer to take more bytes',
      async () => {
        // A stream that the transport closed keeps its buffer: only an open one can still empty it.
        while (this.open && this.#stream.writeBufferLength > LOW_WATER_BYTES) {
          this.#level = Promise.withResolvers()
          await this.#level.promise
        }
      },
    )
  }

  readonly #wake = (): void => {
    this.#level?.resolve()
  }

  readonly #receive = ({ data }: StreamMessageEvent): void => {
    try {
      if (data instanceof Uint8Array) this.#decoder.push(data)
      else for (const piece of data) this.#decoder.push(piece)
    } catch (error) {
      this.#owner.garbage(error)
      this.#stream.abort(asError(error))
    }
  }

  readonly #remoteCloseWrite = (): void => {
    // Neither side ever closes only one direction, so the other side is leaving, and answers would not be read.
    this.#stream.abort(lost())
  }

  readonly #close = (): void => {
    this.#stream.removeEventListener('message', this.#receive)
    this.#wake()
    this.#decoder.end()
    this.#owner.closed()
  }
}

/** The first chunk, which is short, leaves with the second: each send is a frame of Yamux, and answered by one. */
function* withHead(chunks: Iterable<Uint8Array>): Generator<Uint8Array | Uint8ArrayList> {
  const rest = chunks[Symbol.iterator]()
  const head = rest.next()
  if (head.done) return
  const first = rest.next()
  yield first.done ? head.value : new Uint8ArrayList(head.value, first.value)
  for (let next = rest.next(); !next.done; next = rest.next()) yield next.value
}

/** A killed process looks like a clean end of the stream, so every end is a loss to whoever still waits. */
export function lost(cause?: unknown): ProtocolError {
  return new ProtocolError('PEER_LOST', 'the stream to the peer ended', { cause })
}

function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown))
}
