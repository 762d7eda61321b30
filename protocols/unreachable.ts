/** Error for a failed connection, with its reasons in one line. */
import { ProtocolError } from './errors.ts'

/** @param whom a peer or an address */
export function unreachable(whom: string, cause: unknown): ProtocolError {
  return new ProtocolError('UNREACHABLE', `cannot reach ${whom}: ${reason(cause)}`, { cause })
}

export const SHUT_OUT = 'the peer there has another run.json, or another secret'

/** True if a handshake failed because its two sides have different prologues. */
export function isShutOut(cause: unknown): boolean {
  return reason(cause).includes(SHUT_OUT)
}

/** The peer at this address is in the network of another run. */
export function shutOut(address: string, cause: unknown): ProtocolError {
  return new ProtocolError(
    'WRONG_RUN',
    `The peer at ${address} has another run.json than this one, or another secret. Take the run.json of its run, and the secret if it has one.`,
    { cause },
  )
}

/** Joins the distinct messages of an error. libp2p wraps one error for each address that it tried. */
function reason(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) {
    return [...new Set(error.errors.map(reason))].join('; ')
  }
  return error instanceof Error ? inPlainWords(error.message) : String(error)
}

/** Frequent messages of libp2p and of the operating system, and what they mean. All others stay as they are. */
const MEANINGS: readonly (readonly [RegExp, string])[] = [
  [/^connection error (\S+): connect ECONNREFUSED \S+$/, 'no process listens at $1'],
  [/^Payload identity key \S+ does not match expected .*$/, 'another peer answers there'],
  [/^handshake stage \d validation fail: .*$/, SHUT_OUT],
  [
    /^Unexpected EOF.*$/,
    'the peer there closed the connection; it may let named peers in only (--allow), or be about to end',
  ],
  [/^The operation was aborted( due to timeout)?$/, 'no answer in time'],
]

function inPlainWords(message: string): string {
  for (const [pattern, meaning] of MEANINGS) {
    if (pattern.test(message)) return message.replace(pattern, meaning)
  }
  return message
}
