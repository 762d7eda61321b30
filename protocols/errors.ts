/** Everything that can go wrong between peers, as data. */

export type ProtocolErrorCode =
  /** No answer within the deadline. Indefinite: the other side may have acted. */
  | 'TIMEOUT'
  /** The connection went away while waiting. Indefinite. */
  | 'PEER_LOST'
  /** No connection could be made. Definite: nothing was sent. */
  | 'UNREACHABLE'
  /** The other side does not speak this protocol. */
  | 'UNKNOWN_PROTOCOL'
  /** The header does not fit its schema. */
  | 'BAD_MESSAGE'
  /** Longer than a limit. */
  | 'TOO_LARGE'
  /** The checksum does not match, or the stream broke off in the middle of a frame. */
  | 'CORRUPT'
  | 'WRONG_SHAPE'
  | 'NON_FINITE'
  /** A peer of another run. */
  | 'WRONG_RUN'
  /** Of two peers, one is not in the roster that the other knows. */
  | 'NOT_MEMBER'
  /** Of an epoch or step that has passed. */
  | 'STALE'
  /** A bounded queue is full. */
  | 'BUSY'
  /** Well-formed, but not possible now; the message says why. */
  | 'REFUSED'
  /** The handler threw something else. */
  | 'INTERNAL'

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

  /** True if it is certain that the other side did not act on the message. */
  get definite(): boolean {
    return !INDEFINITE.has(this.code)
  }
}
