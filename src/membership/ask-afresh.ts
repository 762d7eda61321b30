/**
 * Questions to peers whose connection no heartbeat tests: peers outside of the roster, and members without a coordinator.
 * The connection to a peer that does not answer in time is ended. It may be dead although neither side was told, and the
 * next question then dials anew.
 */
import { ProtocolError } from '../../protocols/errors.ts'
import type { AcceptBody, CallOptions, Network, PeerId } from '../../protocols/network.ts'
import { ask, type Procedure, type WithBody } from '../../protocols/procedure.ts'
import { TIMEOUTS } from '../base/limits.ts'

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
    if (isSilent) network.disconnect(peer, TIMEOUTS.standingMs)
    throw error
  }
}
