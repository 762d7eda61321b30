/**
 * Frames over one libp2p stream in both directions, with backpressure. The streams of libp2p 3.3 lack backpressure: `onDrain()`
 * works once, and `lpStream` and async iteration queue without a limit. The sender watches the level of the write buffer. The
 * receiver is synchronous, so that nothing queues between the socket and the memory of a body.
 */
import type { Stream, StreamMessageEvent } from '@libp2p/interface'
import { pipe } from 'it-pipe'
import { Uint8ArrayList } from 'uint8arraylist'
import { type Clock, withDeadline } from './clock.ts'
import { ProtocolError } from './errors.ts'
import { CHUNK_BYTES } from './frame.ts'
import { FrameDecoder, type FrameReceiver } from './frame-decoder.ts'

/** Frames that wait for one stream. A further frame fails with BUSY. */
const FRAMES_QUEUED_MAX = 64

/** Unsent bytes beyond which the sender waits: enough to keep the window full, and few to discard with a stream. */
const HIGH_WATER_BYTES = 4 * CHUNK_BYTES

/** Unsent bytes at which the sender goes on. A lower level would cost a wait for every chunk. */
const LOW_WATER_BYTES = CHUNK_BYTES

/**
 * Milliseconds within which a peer must take the bytes between the two levels, or send more of a frame that it has begun. The
 * stream is aborted otherwise. Half a body holds memory.
 */
const STALL_MS = 30_000

interface Outgoing {
  readonly frame: Iterable<Uint8Array>
  readonly signal: AbortSignal | undefined
  readonly sent: PromiseWithResolvers<void>
}

/** Receives the frames and the events of a stream. */
export interface FrameStreamOwner extends FrameReceiver {
  /** Called once, after the last event. */
  closed(): void
  /** Called when the peer has sent bytes that are not a frame. */
  garbage(why: unknown): void
}

export class FrameStream {
  readonly #stream: Stream
  readonly #clock: Clock
  readonly #owner: FrameStreamOwner
  readonly #decoder: FrameDecoder
  readonly #queue: Outgoing[] = []
  #sending = false
  /** True if bytes have come since this was set to false. */
  #hasReceived = false
  /** True while the rest of a frame is awaited. */
  #awaitsRest = false
  /** Resolved by each event that may have lowered the level of the write buffer. One sender waits at a time. */
  #level: PromiseWithResolvers<void> | undefined

  /** Adds its listeners at once, because a stream without a listener buffers data until it fails. */
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
    // Either event may have passed while the caller awaited the opening.
    if (!this.open) queueMicrotask(this.#close)
    else if (stream.remoteWriteStatus === 'closed') queueMicrotask(this.#remoteCloseWrite)
  }

  get open(): boolean {
    return this.#stream.status === 'open'
  }

  /**
   * Queues a frame; resolves when libp2p has taken its last byte. If the signal aborts before the first byte, the frame is
   * removed. If the signal aborts later, the stream is aborted: half a frame cannot be taken back, and sending the rest would
   * delay the frames behind it for a call that is over.
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

  /** Stops writing into the memory for the body of a call that is over. */
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
        // A stream that the transport has closed never empties its buffer.
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
      this.#hasReceived = true
      if (this.#decoder.isIncomplete && !this.#awaitsRest) void this.#awaitRest()
    } catch (error) {
      this.#owner.garbage(error)
      this.#stream.abort(asError(error))
    }
  }

  /** Waits until no frame is begun. Aborts the stream if nothing more of one comes in `STALL_MS`. */
  async #awaitRest(): Promise<void> {
    this.#awaitsRest = true
    do {
      this.#hasReceived = false
      await this.#clock.sleep(STALL_MS)
    } while (this.#hasReceived && this.#decoder.isIncomplete)
    this.#awaitsRest = false
    if (!this.open || !this.#decoder.isIncomplete) return
    this.#stream.abort(
      lost(new Error(`half a frame has come, and nothing more for ${STALL_MS} ms`)),
    )
  }

  readonly #remoteCloseWrite = (): void => {
    // No peer closes only one direction. The peer is therefore leaving, and would not read an answer.
    this.#stream.abort(lost())
  }

  readonly #close = (): void => {
    this.#stream.removeEventListener('message', this.#receive)
    this.#wake()
    this.#decoder.end()
    this.#owner.closed()
  }
}

/** Joins the first chunk, which is short, to the second, because each send makes a frame of Yamux and a reply to it. */
function* withHead(chunks: Iterable<Uint8Array>): Generator<Uint8Array | Uint8ArrayList> {
  const rest = chunks[Symbol.iterator]()
  const head = rest.next()
  if (head.done) return
  const first = rest.next()
  yield first.done ? head.value : new Uint8ArrayList(head.value, first.value)
  for (let next = rest.next(); !next.done; next = rest.next()) yield next.value
}

/** Error for calls that still wait at the end of a stream. A killed process ends its streams like one that stops. */
export function lost(cause?: unknown): ProtocolError {
  return new ProtocolError('PEER_LOST', 'the stream to the peer ended', { cause })
}

function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown))
}
