/** The question whether a suspected peer is alive. */
import { ProtocolError } from '../../protocols/errors.ts'
import { heartbeat } from '../../protocols/membership.ts'
import type { Network, PeerId } from '../../protocols/network.ts'
import { ask } from '../../protocols/procedure.ts'
import { TIMEOUTS } from '../base/limits.ts'

/** A member's answer to a heartbeat. */
type SignOfLife = typeof heartbeat.answer._output

/**
 * Asks a suspect for a heartbeat, first over its standing connection and then over a new one. A standing connection may be dead
 * though neither side was told: after a sleep, a change of address, or when a router has forgotten it.
 * @param epoch latest epoch that this peer knows
 * @throws ProtocolError if the suspect answers over neither
 */
export async function askForSignOfLife(
  network: Network,
  peer: PeerId,
  runId: string,
  epoch: number,
  signal: AbortSignal,
): Promise<SignOfLife> {
  const question = { run: runId, epoch }
  try {
    const timeoutMs = TIMEOUTS.standingMs
    return await ask(network, peer, heartbeat, question, { timeoutMs, signal })
  } catch (error) {
    signal.throwIfAborted()
    if (!(error instanceof ProtocolError) || !isOfLink(error)) throw error
  }
  // A connection that was made for this question, or by the suspect meanwhile, is the new one.
  network.disconnect(peer, TIMEOUTS.standingMs)
  return await ask(network, peer, heartbeat, question, { timeoutMs: TIMEOUTS.reconnectMs, signal })
}

/** True if the answer may have been lost with the connection. */
function isOfLink({ code }: ProtocolError): boolean {
  return code === 'TIMEOUT' || code === 'PEER_LOST'
}
