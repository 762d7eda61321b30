/** A message between two peers of one process. The limits are those of the real wire, and the two sides share no memory. */
import { ProtocolError } from '../../protocols/errors.ts'
import { checkLimits } from '../../protocols/frame.ts'
import {
  type AcceptBody,
  type Json,
  LIMITS,
  type Message,
  type Received,
} from '../../protocols/network.ts'
import { jsonBytes } from './message-size.ts'
import type { Load } from './wire.ts'

export interface Parcel {
  /** JSON text, or the header itself where headers are shared. */
  readonly header: string | { readonly shared: Json }
  readonly body: Uint8Array | undefined
  readonly load: Load
}

/**
 * Copies the message, so that its sender may change it afterwards.
 * @param load the bytes that the message counts
 * @param share hands the header over as an object: a quarter of the work for a message with a long route. A handler of
 *   a procedure still gets its own copy, from the schema that checks the header.
 * @throws ProtocolError TOO_LARGE by the limits of the real wire, for the JSON text as it is
 */
export function pack(message: Message, load: Load, share: boolean): Parcel {
  const body = message.body?.slice()
  if (share) {
    checkLimits(couldExceed(message.header) ? textBytes(message.header) : 0, body?.length)
    return { header: { shared: message.header }, body, load }
  }
  const header = JSON.stringify(message.header)
  checkLimits(Buffer.byteLength(header), body?.length)
  return { header, body, load }
}

/** True if the header may be over the limit as text. A number is the part whose text is longest beside what it counts. */
function couldExceed(header: Json): boolean {
  return TEXT_MAX * jsonBytes(header) > LIMITS.header
}

/** A number counts 4 bytes, and its text has 24 characters at most; an escaped character of a string has 6. */
const TEXT_MAX = 6

function textBytes(header: Json): number {
  return Buffer.byteLength(JSON.stringify(header))
}

/** @throws ProtocolError REFUSED for a body without `accept`; whatever `accept` throws */
export function unpack({ header, body }: Parcel, accept: AcceptBody | undefined): Received {
  const parsed: unknown = typeof header === 'string' ? JSON.parse(header) : header.shared
  if (body === undefined) return { header: parsed }
  if (accept === undefined) {
    throw new ProtocolError('REFUSED', 'the message has a body, and its receiver takes none')
  }
  const into = accept(parsed, body.length)
  if (into.length !== body.length) {
    throw new Error(`accept gave ${into.length} bytes for a body of ${body.length}`)
  }
  into.set(body)
  return { header: parsed, body: into }
}
