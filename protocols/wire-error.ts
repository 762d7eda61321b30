/** Errors on the wire: the header of a frame of kind `error`. */
import { fromString } from 'uint8arrays'
import { ERROR_CODES, ProtocolError, type ProtocolErrorCode } from './errors.ts'

/** Longest message of an error. An error must always fit a header. */
const MESSAGE_CHARACTERS = 2_000

export function encodeError({ code, message }: ProtocolError): Uint8Array {
  return fromString(JSON.stringify({ code, message: message.slice(0, MESSAGE_CHARACTERS) }))
}

/** Checks the header of an error frame. An unknown form becomes INTERNAL. */
export function decodeError(header: unknown): ProtocolError {
  const { code, message } = Object(header) as { code?: unknown; message?: unknown }
  const known = ERROR_CODES.find((each) => each === code)
  if (known === undefined || typeof message !== 'string') {
    return new ProtocolError('INTERNAL', 'the peer answered with an error of unknown form')
  }
  return new ProtocolError(known, message)
}

/** Any thrown value as a ProtocolError. @param code replaces the code of the error */
export function asProtocolError(error: unknown, code?: ProtocolErrorCode): ProtocolError {
  if (error instanceof ProtocolError && code === undefined) return error
  const message = error instanceof Error ? error.message : String(error)
  return new ProtocolError(code ?? 'INTERNAL', message, { cause: error })
}
