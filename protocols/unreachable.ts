/** Error for a failed connection, with its reasons in one line. */
import { ProtocolError } from './errors.ts'

/** @param whom a peer or an address */
export function unreachable(whom: string, cause: unknown): ProtocolError {
  return new ProtocolError('UNREACHABLE', `cannot reach ${whom}: ${reason(cause)}`, { cause })
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
  [/^The operation was aborted( due to timeout)?$/, 'no answer in time'],
]

function inPlainWords(message: string): string {
  for (const [pattern, meaning] of MEANINGS) {
    if (pattern.test(message)) return message.replace(pattern, meaning)
  }
  return message
}
