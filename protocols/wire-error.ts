/** How an error crosses the wire: as the header of a frame of its own kind. */
import { fromString } from 'uint8arrays'
import { ProtocolError, type ProtocolErrorCode } from './errors.ts'

/** Enough to say what was wrong; an error must always fit a header. */
const MESSAGE_CHARACTERS = 2_000

const CODES: Readonly<Record<ProtocolErrorCode, true>> = {
  TIMEOUT: true,
  PEER_LOST: true,
  UNREACHABLE: true,
  UNKNOWN_PROTOCOL: true,
  BAD_MESSAGE: true,
  TOO_LARGE: true,
  CORRUPT: true,
  WRONG_SHAPE: true,
  NON_FINITE: true,
  WRONG_RUN: true,
  NOT_MEMBER: true,
  STALE: true,
  BUSY: true,
  REFUSED: true,
  INTERNAL: true,
}

export function encodeError({ code, message }: ProtocolError): Uint8Array {
  return fromString(JSON.stringify({ code, message: message.slice(0, MESSAGE_CHARACTERS) }))
}

/** What another peer calls an error is checked like everything else that it says. */
export function decodeError(header: unknown): ProtocolError {
  const { code, message } = Object(header) as { code?: unknown; message?: unknown }
  if (typeof code !== 'string' || !Object.hasOwn(CODES, code) || typeof message !== 'string') {
    return new ProtocolError('INTERNAL', 'the peer answered with an error of unknown form')
  }
  return new ProtocolError(code as ProtocolErrorCode, message)
}

/** Whatever was thrown, as something to tell a peer. With a code given, under that one. */
export function asProtocolError(error: unknown, code?: ProtocolErrorCode): ProtocolError {
  if (error instanceof ProtocolError && code === undefined) return error
  const message = error instanceof Error ? error.message : String(error)
  return new ProtocolError(code ?? 'INTERNAL', message, { cause: error })
}
