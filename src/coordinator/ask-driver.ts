/** Asks a holder for its part of a step. The bodies have the microbatches that it drives, and their losses. */
import { decodeLosses, encodeDrives, LOSSES_BYTES_MAX, type Loss } from '../../protocols/drives.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { PeerId } from '../../protocols/network.ts'
import type { Procedure } from '../../protocols/procedure.ts'
import type { Journey } from '../../protocols/step.ts'
import type { Round } from './round.ts'

/** @throws what `Round.ask` throws; ProtocolError BAD_MESSAGE for malformed losses */
export async function askDriver<Question, Answer>(
  round: Round,
  peer: PeerId,
  what: Procedure<Question, Answer>,
  question: Question,
  drives: readonly Journey[],
  timeoutMs: number,
): Promise<Answer & { losses: Loss[] }> {
  let losses: Uint8Array | undefined
  const accept = (_: unknown, length: number) => {
    if (length > LOSSES_BYTES_MAX) throw new ProtocolError('TOO_LARGE', `${length} bytes of losses`)
    losses = new Uint8Array(length)
    return losses
  }
  const bodies = { body: encodeDrives(drives), accept }
  const answer = await round.ask(peer, what, question, timeoutMs, bodies)
  return { ...answer, losses: decodeLosses(peer, losses) }
}
