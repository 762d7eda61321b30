/** Reads frames from pieces of any size, and stores a body only where the receiver accepts it. */
import { crc32 } from 'node:zlib'
import { ProtocolError } from './errors.ts'
import {
  decodePrefix,
  type FrameHead,
  type FramePrefix,
  notAFrame,
  PREFIX_BYTES,
  tooLong,
} from './frame.ts'
import { LIMITS, type Received } from './network.ts'

/** Receives what a decoder has read. The calls happen while bytes arrive, so they must be synchronous and fast. */
export interface FrameReceiver {
  /** The header is complete and the body is not. Returns memory for the body. An exception refuses the body. */
  accept(head: FrameHead, header: unknown, length: number): Uint8Array
  /** A frame is complete, and its checksums match. */
  received(head: FrameHead, message: Received): void
  /** The frame has ended without a usable message. @param why the reason */
  refused(head: FrameHead, why: unknown): void
}

/** What happens to a body: the decoder copies it into memory, or skips it. */
type Destination = { readonly into: Uint8Array } | { readonly refusal: unknown }

/** Refuses bytes that are not UTF-8; the decoder of uint8arrays replaces them. */
const text = new TextDecoder('utf-8', { fatal: true })

export class FrameDecoder {
  readonly #receiver: FrameReceiver
  readonly #prefixBytes = new Uint8Array(PREFIX_BYTES)
  #prefix: FramePrefix | undefined
  #headerBytes: Uint8Array | undefined
  #header: unknown
  /** Set while a body is being read. */
  #destination: Destination | undefined
  /** Bytes received of the current part: prefix, header or body. */
  #filled = 0
  #checksum = 0

  constructor(receiver: FrameReceiver) {
    this.#receiver = receiver
  }

  /**
   * Takes the next bytes of the stream.
   * @throws ProtocolError CORRUPT if the bytes are not frames; the decoder must not be used after that
   */
  push(bytes: Uint8Array): void {
    let rest = bytes
    while (rest.length > 0) {
      if (this.#destination !== undefined) rest = this.#readBody(this.#prefix!, rest)
      else if (this.#prefix !== undefined) rest = this.#readHeader(this.#prefix, rest)
      else rest = this.#readPrefix(rest)
    }
  }

  /** True if a part of a frame has come, and the rest has not. */
  get isIncomplete(): boolean {
    return this.#prefix !== undefined || this.#filled > 0
  }

  /** Skips the rest of a body. The call that accepted the body is over, and may reuse the memory. */
  drop(id: number, why: unknown): void {
    if (this.#destination !== undefined && this.#prefix?.id === id) {
      this.#destination = { refusal: why }
    }
  }

  /** Must be called at the end of the stream. Refuses a frame that is incomplete. */
  end(): void {
    if (this.#prefix === undefined) return
    this.#finish(new ProtocolError('CORRUPT', 'the stream broke off in the middle of a frame'))
  }

  #readPrefix(bytes: Uint8Array): Uint8Array {
    const rest = this.#fill(this.#prefixBytes, bytes)
    if (this.#filled < PREFIX_BYTES) return rest
    this.#prefix = decodePrefix(this.#prefixBytes)
    this.#headerBytes = new Uint8Array(this.#prefix.headerLength)
    this.#filled = 0
    return rest
  }

  #readHeader(prefix: FramePrefix, bytes: Uint8Array): Uint8Array {
    const rest = this.#fill(this.#headerBytes!, bytes)
    if (this.#filled < prefix.headerLength) return rest
    if (crc32(this.#headerBytes!) !== prefix.headerChecksum) {
      throw notAFrame('the checksum of its header does not match')
    }
    this.#filled = 0
    this.#checksum = 0
    this.#destination = this.#choose(prefix)
    if (prefix.bodyLength === 0) this.#finishBody(prefix, this.#destination)
    return rest
  }

  #readBody(prefix: FramePrefix, bytes: Uint8Array): Uint8Array {
    const piece = bytes.subarray(0, prefix.bodyLength - this.#filled)
    const destination = this.#destination!
    if ('into' in destination) {
      destination.into.set(piece, this.#filled)
      this.#checksum = crc32(piece, this.#checksum)
    }
    this.#filled += piece.length
    if (this.#filled === prefix.bodyLength) this.#finishBody(prefix, destination)
    return bytes.subarray(piece.length)
  }

  #choose(prefix: FramePrefix): Destination {
    const { hasBody, bodyLength } = prefix
    try {
      this.#header = parseHeader(this.#headerBytes!)
      if (!hasBody) return { into: EMPTY }
      if (bodyLength > LIMITS.body) {
        throw new ProtocolError('TOO_LARGE', tooLong('body', bodyLength, LIMITS.body))
      }
      const into = this.#receiver.accept(prefix, this.#header, bodyLength)
      if (into.length !== bodyLength) {
        throw new Error(`accept gave ${into.length} bytes for a body of ${bodyLength}`)
      }
      return { into }
    } catch (refusal) {
      return { refusal }
    }
  }

  #finishBody({ hasBody, bodyChecksum }: FramePrefix, destination: Destination): void {
    if ('refusal' in destination) {
      this.#finish(destination.refusal)
    } else if (this.#checksum !== bodyChecksum) {
      this.#finish(new ProtocolError('CORRUPT', 'the checksum of the body does not match'))
    } else {
      this.#finish(undefined, hasBody ? destination.into : undefined)
    }
  }

  /** Resets the decoder for the next frame before the receiver is called, because the receiver may end the stream. */
  #finish(refusal: unknown, body?: Uint8Array): void {
    const prefix = this.#prefix!
    const header = this.#header
    this.#prefix = undefined
    this.#headerBytes = undefined
    this.#header = undefined
    this.#destination = undefined
    this.#filled = 0
    if (refusal === undefined) {
      this.#receiver.received(prefix, body === undefined ? { header } : { header, body })
    } else {
      this.#receiver.refused(prefix, refusal)
    }
  }

  /** Copies bytes into `part` until it is full, and returns the other bytes. */
  #fill(part: Uint8Array, bytes: Uint8Array): Uint8Array {
    const piece = bytes.subarray(0, part.length - this.#filled)
    part.set(piece, this.#filled)
    this.#filled += piece.length
    return bytes.subarray(piece.length)
  }
}

const EMPTY = new Uint8Array(0)

function parseHeader(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(text.decode(bytes))
  } catch (cause) {
    throw new ProtocolError('BAD_MESSAGE', 'the header is not JSON', { cause })
  }
}
