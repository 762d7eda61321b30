/**
 * Layout of a message on a stream: a fixed prefix, the header as JSON, then the raw bytes of the body.
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
 * Numbers are little-endian. The checksum of the body precedes the body. A body that its owner overwrites during sending
 * therefore arrives as CORRUPT, and not as a mixture of old and new values.
 */
import { crc32 } from 'node:zlib'
import { fromString } from 'uint8arrays'
import { ProtocolError } from './errors.ts'
import { LIMITS, type Message } from './network.ts'

export const PREFIX_BYTES = 32

/**
 * Bytes of a chunk: four Noise packets of 65,519 bytes of plaintext, minus the 12 bytes of a Yamux header. One byte more would
 * make a fifth packet of every chunk. A chunk fits Yamux's initial window of 256 KiB. Half of it costs a tenth more processor
 * time. On an uplink of 1 MB/s other messages wait 0.3 s for a chunk.
 */
export const CHUNK_BYTES = 4 * 65_519 - 12

/** Up to here a copy costs less than a packet of its own. */
const SMALL_BODY_BYTES = 16 * 1024

/**
 * What is left after the last whole chunk goes with it up to here. Yamux answers each chunk with a window update, and a
 * body of 256 KiB, as small models have them, is 80 bytes longer than a chunk.
 */
const TAIL_BYTES = 16 * 1024

const MAGIC = 0x01_6e_73_67

type FrameKind = 'request' | 'answer' | 'error'

const CODE_OF_KIND = { request: 1, answer: 2, error: 3 } as const satisfies Record<
  FrameKind,
  number
>
const KINDS: readonly (FrameKind | undefined)[] = [undefined, 'request', 'answer', 'error']

/** Kind of the message in a frame, and the id of its call. */
export interface FrameHead {
  readonly kind: FrameKind
  readonly id: number
}

/** Fields of the prefix. Lengths are in bytes. */
export interface FramePrefix extends FrameHead {
  readonly hasBody: boolean
  readonly headerLength: number
  readonly bodyLength: number
  readonly headerChecksum: number
  readonly bodyChecksum: number
}

/**
 * Encodes the header of a message.
 * @throws ProtocolError TOO_LARGE if header or body is over the limits of the wire
 */
export function encodeHeader({ header, body }: Message): Uint8Array {
  const bytes = fromString(JSON.stringify(header))
  checkLimits(bytes.length, body?.length)
  return bytes
}

/** @throws ProtocolError TOO_LARGE if a header or a body of this length is over the limits of the wire */
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

/**
 * Yields a frame: prefix and header, then the body in chunks of CHUNK_BYTES. The last chunk is up to TAIL_BYTES longer. The
 * chunks are views of the body. A small body is copied behind the header.
 */
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
  for (let offset = 0; offset < body.length; ) {
    const end = offset + CHUNK_BYTES
    const last = body.length - end <= TAIL_BYTES
    yield body.subarray(offset, last ? body.length : end)
    offset = last ? body.length : end
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

/** Error for bytes that no encoder of this program makes. After such bytes the start of the next frame is unknown. */
export function notAFrame(why: string): ProtocolError {
  return new ProtocolError('CORRUPT', `not a frame: ${why}`)
}
