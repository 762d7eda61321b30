/**
 * Questions to peers whose connection no heartbeat tests: peers outside of the roster, and members of which neither
 * coordinates. The connection to a peer that does not answer in time is ended. It may be dead although neither side was told,
 * and the next question then dials anew.
 */
import { ProtocolError } from './errors.ts'
import type { AcceptBody, CallOptions, Network, PeerId } from './network.ts'
import { ask, type Procedure, type WithBody } from './procedure.ts'

/** A connection that has stood for less than so many milliseconds is new, and is not ended. */
export const STANDING_MS = 1_000

/** Asks as `ask` does. @throws ProtocolError as `ask` */
export async function askAfresh<Question, Answer>(
  network: Network,
  peer: PeerId,
  procedure: Procedure<Question, Answer>,
  question: Question,
  options: CallOptions & WithBody & { accept?: AcceptBody | undefined },
): Promise<Answer> {
  try {
    return await ask(network, peer, procedure, question, options)
  } catch (error) {
    const isSilent = error instanceof ProtocolError && error.code === 'TIMEOUT'
    // A connection that the peer itself made meanwhile is a new one.
    if (isSilent) network.disconnect(peer, STANDING_MS)
    throw error
  }
}
