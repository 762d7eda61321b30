/** Errors on the wire: the header of a frame of kind `error`. */
import { fromString } from 'uint8arrays'
import { ProtocolError, type ProtocolErrorCode } from './errors.ts'

/** Longest message of an error. An error must always fit a header. */
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

/** Checks the header of an error frame. An unknown form becomes INTERNAL. */
export function decodeError(header: unknown): ProtocolError {
  const { code, message } = Object(header) as { code?: unknown; message?: unknown }
  if (typeof code !== 'string' || !Object.hasOwn(CODES, code) || typeof message !== 'string') {
    return new ProtocolError('INTERNAL', 'the peer answered with an error of unknown form')
  }
  return new ProtocolError(code as ProtocolErrorCode, message)
}

/** Any thrown value as a ProtocolError. @param code replaces the code of the error */
export function asProtocolError(error: unknown, code?: ProtocolErrorCode): ProtocolError {
  if (error instanceof ProtocolError && code === undefined) return error
  const message = error instanceof Error ? error.message : String(error)
  return new ProtocolError(code ?? 'INTERNAL', message, { cause: error })
}
