/** A message between two peers of one process: limits as on the real wire, and nothing that both sides could touch. */
import { ProtocolError } from '../../protocols/errors.ts'
import { checkLimits, PREFIX_BYTES } from '../../protocols/frame.ts'
import type { AcceptBody, Json, Message, Received } from '../../protocols/network.ts'

export interface Parcel {
  /** JSON; or the header itself if it is shared. */
  readonly header: string | { readonly shared: Json }
  readonly body: Uint8Array | undefined
  /** What a frame of it has on the real wire before the body. */
  readonly headBytes: number
}

/** What a header that is never made into text counts on the wire. */
const SHARED_HEADER_BYTES = 256

/**
 * Copies the message, so that its sender may do with it what it likes.
 * @param share hands the header over as it is: a quarter of the cost of a message with a long route, for worlds of
 *   thousands of peers. Whoever serves a procedure gets a copy all the same, from the schema that checks it.
 * @throws ProtocolError TOO_LARGE
 */
export function pack(message: Message, share: boolean): Parcel {
  const body = message.body?.slice()
  if (share) {
    const header = { shared: message.header }
    return { header, body, headBytes: PREFIX_BYTES + SHARED_HEADER_BYTES }
  }
  const header = JSON.stringify(message.header)
  const headerBytes = Buffer.byteLength(header)
  checkLimits(headerBytes, body?.length)
  return { header, body, headBytes: PREFIX_BYTES + headerBytes }
}

/** @throws ProtocolError REFUSED for a body without `accept`; whatever `accept` throws */
export function unpack({ header, body }: Parcel, accept: AcceptBody | undefined): Received {
  const parsed: unknown = typeof header === 'string' ? JSON.parse(header) : header.shared
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
