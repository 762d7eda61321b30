/** Reads frames as their bytes arrive, in pieces of any size, without ever holding a body that nobody asked for. */
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

/** Whom a decoder tells. All calls are made while bytes arrive: they must be synchronous and fast. */
export interface FrameReceiver {
  /** The header is in, the body is not: says where the body goes. Whatever it throws refuses the body. */
  accept(head: FrameHead, header: unknown, length: number): Uint8Array
  /** A frame is whole and its checksums hold. */
  received(head: FrameHead, message: Received): void
  /** The frame has passed, and this is why there is nothing to show for it. */
  refused(head: FrameHead, why: unknown): void
}

/** What becomes of a body: it is copied to where it belongs, or it runs past. */
type Destination = { readonly into: Uint8Array } | { readonly refusal: unknown }

/** Unlike uint8arrays' own, it refuses what is not UTF-8. */
const text = new TextDecoder('utf-8', { fatal: true })

export class FrameDecoder {
  readonly #receiver: FrameReceiver
  readonly #prefixBytes = new Uint8Array(PREFIX_BYTES)
  #prefix: FramePrefix | undefined
  #headerBytes: Uint8Array | undefined
  #header: unknown
  /** Set while a body is being read. */
  #destination: Destination | undefined
  /** Bytes of the present part (prefix, header or body) that are in. */
  #filled = 0
  #checksum = 0

  constructor(receiver: FrameReceiver) {
    this.#receiver = receiver
  }

  /**
   * Takes the next bytes of the stream.
   * @throws ProtocolError CORRUPT if they are not frames; the decoder is of no use after that
   */
  push(bytes: Uint8Array): void {
    let rest = bytes
    while (rest.length > 0) {
      if (this.#destination !== undefined) rest = this.#readBody(this.#prefix!, rest)
      else if (this.#prefix !== undefined) rest = this.#readHeader(this.#prefix, rest)
      else rest = this.#readPrefix(rest)
    }
  }

  /** Lets the rest of a body run past, because whoever accepted it has gone and may use its memory again. */
  drop(id: number, why: unknown): void {
    if (this.#destination !== undefined && this.#prefix?.id === id) {
      this.#destination = { refusal: why }
    }
  }

  /** The stream has ended. Tells the receiver of the frame that it broke off in. */
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

  /** Makes room for the next frame, then tells of this one: the receiver may end the stream by what it does. */
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

  /** Copies what fits into `part` and returns what does not. */
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
