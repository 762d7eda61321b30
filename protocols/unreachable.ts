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
  return error instanceof Error ? error.message : String(error)
}
