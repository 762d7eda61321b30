/** A message between two peers of one process: limits as on the real wire, and nothing that both sides could touch. */
import { ProtocolError } from '../protocols/errors.ts'
import { checkLimits, PREFIX_BYTES } from '../protocols/frame.ts'
import type { AcceptBody, Message, Received } from '../protocols/network.ts'

export interface Parcel {
  /** JSON. */
  readonly header: string
  readonly body: Uint8Array | undefined
  /** What a frame of it has on the real wire. */
  readonly bytes: number
}

/**
 * Copies the message, so that its sender may do with it what it likes.
 * @throws ProtocolError TOO_LARGE
 */
export function pack(message: Message): Parcel {
  const header = JSON.stringify(message.header)
  const headerBytes = Buffer.byteLength(header)
  checkLimits(headerBytes, message.body?.length)
  const body = message.body?.slice()
  return { header, body, bytes: PREFIX_BYTES + headerBytes + (body?.length ?? 0) }
}

/** @throws ProtocolError REFUSED for a body without `accept`; whatever `accept` throws */
export function unpack({ header, body }: Parcel, accept: AcceptBody | undefined): Received {
  const parsed: unknown = JSON.parse(header)
  if (body === undefined) return { header: parsed }
  if (accept === undefined) {
    throw new ProtocolError('REFUSED', 'there is a body, and whoever gets it takes none')
  }
  const into = accept(parsed, body.length)
  if (into.length !== body.length) {
    throw new Error(`accept gave ${into.length} bytes for a body of ${body.length}`)
  }
  into.set(body)
  return { header: parsed, body: into }
}
