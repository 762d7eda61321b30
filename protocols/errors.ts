/** Errors between peers, with codes that cross the wire. */

/** Codes of errors that cross the wire. */
export const ERROR_CODES = [
  /** No answer within the deadline. Indefinite: the other peer may have acted. */
  'TIMEOUT',
  /** The connection ended before the answer. Indefinite. */
  'PEER_LOST',
  /** No connection could be made. Definite: nothing was sent. */
  'UNREACHABLE',
  /** The other peer does not serve this protocol. */
  'UNKNOWN_PROTOCOL',
  /** The header does not fit its schema. */
  'BAD_MESSAGE',
  /** A header, body or file is over a limit. */
  'TOO_LARGE',
  /** A checksum differs, or the stream ended within a frame. Indefinite. */
  'CORRUPT',
  /** A tensor or a body has another size than expected. */
  'WRONG_SHAPE',
  /** A tensor contains NaN or infinity. */
  'NON_FINITE',
  /** The other peer is in another run. */
  'WRONG_RUN',
  /** One of the two peers is not in the roster of the other. */
  'NOT_MEMBER',
  /** The message belongs to an epoch or step that has passed. */
  'STALE',
  /** A bounded queue is full. */
  'BUSY',
  /** The request is well-formed, but not possible now. The message has the reason. */
  'REFUSED',
  /** The handler threw another error. Indefinite. */
  'INTERNAL',
] as const
export type ProtocolErrorCode = (typeof ERROR_CODES)[number]

const INDEFINITE: ReadonlySet<ProtocolErrorCode> = new Set([
  'TIMEOUT',
  'PEER_LOST',
  'CORRUPT',
  'INTERNAL',
])

export class ProtocolError extends Error {
  static override readonly name = 'ProtocolError'
  override readonly name = 'ProtocolError'
  readonly code: ProtocolErrorCode

  constructor(code: ProtocolErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }

  /** True if the other peer has certainly not acted on the message. */
  get definite(): boolean {
    return !INDEFINITE.has(this.code)
  }
}
