/**
 * How a message lies on a stream: a fixed prefix, the header as JSON, then the body's raw bytes.
 *
 * | offset | bytes | field                                                        |
 * |-------:|------:|--------------------------------------------------------------|
 * |      0 |     4 | magic and version: "gsn" 1                                   |
 * |      4 |     1 | kind: 1 request, 2 answer, 3 error                           |
 * |      5 |     1 | 1 if there is a body (it may be empty), else 0               |
 * |      6 |     2 | 0                                                            |
 * |      8 |     4 | call id: chosen by the caller, repeated by the answer        |
 * |     12 |     4 | length of the header                                         |
 * |     16 |     4 | length of the body                                           |
 * |     20 |     4 | CRC-32 of the header                                         |
 * |     24 |     4 | CRC-32 of the body                                           |
 * |     28 |     4 | CRC-32 of the 28 bytes before                                |
 *
 * Numbers are little-endian. The body's checksum stands before the body on purpose: a body that its owner overwrites
 * while it is being sent arrives as CORRUPT instead of as a mixture of old and new values.
 */
import { crc32 } from 'node:zlib'
import { fromString } from 'uint8arrays'
import { ProtocolError } from './errors.ts'
import { LIMITS, type Message } from './network.ts'

export const PREFIX_BYTES = 32

/**
 * Four Noise packets of 65519 bytes of plaintext, less the 12 bytes that Yamux puts in front: one byte more would make
 * a fifth packet of a few bytes out of every chunk. It just fits Yamux's initial window of 256 KiB, and costs a tenth
 * less processor time than half of it; others wait behind it for 0.3 s on an uplink of 1 MB/s.
 */
export const CHUNK_BYTES = 4 * 65_519 - 12

/** Up to here a copy costs less than a packet of its own. */
const SMALL_BODY_BYTES = 16 * 1024

const MAGIC = 0x01_6e_73_67

type FrameKind = 'request' | 'answer' | 'error'

const CODE_OF_KIND = { request: 1, answer: 2, error: 3 } as const satisfies Record<
  FrameKind,
  number
>
const KINDS: readonly (FrameKind | undefined)[] = [undefined, 'request', 'answer', 'error']

/** Which message of which call a frame carries. */
export interface FrameHead {
  readonly kind: FrameKind
  readonly id: number
}

/** What the prefix says about the bytes that follow it. */
export interface FramePrefix extends FrameHead {
  readonly hasBody: boolean
  readonly headerLength: number
  readonly bodyLength: number
  readonly headerChecksum: number
  readonly bodyChecksum: number
}

/**
 * The message's header as bytes, if the message is within the limits of the wire.
 * @throws ProtocolError TOO_LARGE, before anything is sent
 */
export function encodeHeader({ header, body }: Message): Uint8Array {
  const bytes = fromString(JSON.stringify(header))
  checkLimits(bytes.length, body?.length)
  return bytes
}

/** @throws ProtocolError TOO_LARGE if a message with so many bytes of header and body is over the limits of the wire */
export function checkLimits(headerBytes: number, bodyBytes = 0): void {
  if (headerBytes > LIMITS.header) {
    throw new ProtocolError('TOO_LARGE', tooLong('header', headerBytes, LIMITS.header))
  }
  if (bodyBytes > LIMITS.body) {
    throw new ProtocolError('TOO_LARGE', tooLong('body', bodyBytes, LIMITS.body))
  }
}

export function tooLong(part: 'header' | 'body', length: number, limit: number): string {
  return `a ${part} of ${length} bytes is over the limit of ${limit} bytes`
}

/** The frame in chunks of at most CHUNK_BYTES. Those of the body are views of it, unless the body is small. */
export function* encodeFrame(
  head: FrameHead,
  header: Uint8Array,
  body?: Uint8Array,
): Generator<Uint8Array, void, undefined> {
  const bodyStart = PREFIX_BYTES + header.length
  const small = body !== undefined && body.length <= SMALL_BODY_BYTES
  const first = new Uint8Array(bodyStart + (small ? body.length : 0))
  const view = new DataView(first.buffer)
  view.setUint32(0, MAGIC, true)
  view.setUint8(4, CODE_OF_KIND[head.kind])
  view.setUint8(5, body === undefined ? 0 : 1)
  view.setUint32(8, head.id, true)
  view.setUint32(12, header.length, true)
  view.setUint32(16, body?.length ?? 0, true)
  view.setUint32(20, crc32(header), true)
  view.setUint32(24, crc32(body ?? header.subarray(0, 0)), true)
  view.setUint32(28, crc32(first.subarray(0, 28)), true)
  first.set(header, PREFIX_BYTES)
  if (small) first.set(body, bodyStart)
  yield first
  if (body === undefined || small) return
  for (let offset = 0; offset < body.length; offset += CHUNK_BYTES) {
    yield body.subarray(offset, offset + CHUNK_BYTES)
  }
}

/** @throws ProtocolError CORRUPT if these are not the first bytes of a frame */
export function decodePrefix(bytes: Uint8Array): FramePrefix {
  const view = new DataView(bytes.buffer, bytes.byteOffset, PREFIX_BYTES)
  if (view.getUint32(0, true) !== MAGIC) throw notAFrame('its first bytes are of something else')
  if (view.getUint32(28, true) !== crc32(bytes.subarray(0, 28))) {
    throw notAFrame('the checksum of its prefix does not match')
  }
  const kind = KINDS[view.getUint8(4)]
  if (kind === undefined) throw notAFrame(`it is of kind ${view.getUint8(4)}`)
  const headerLength = view.getUint32(12, true)
  if (headerLength === 0) throw notAFrame('it has no header')
  if (headerLength > LIMITS.header) throw notAFrame(tooLong('header', headerLength, LIMITS.header))
  const hasBody = view.getUint8(5) === 1
  const bodyLength = view.getUint32(16, true)
  if (!hasBody && bodyLength > 0)
    throw notAFrame('it has a length for a body that it does not have')
  return {
    kind,
    id: view.getUint32(8, true),
    hasBody,
    headerLength,
    bodyLength,
    headerChecksum: view.getUint32(20, true),
    bodyChecksum: view.getUint32(24, true),
  }
}

/** No encoder of ours makes such bytes, and after them nobody knows where the next frame begins. */
export function notAFrame(why: string): ProtocolError {
  return new ProtocolError('CORRUPT', `not a frame: ${why}`)
}
