/** Sends a chosen change to all members, and waits until they have carried it out. */

import type { Change } from '../../protocols/agreement.ts'
import * as agreement from '../../protocols/agreement.ts'
import { encodeRoster, type Member, type Roster } from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'
import { ask } from '../../protocols/procedure.ts'
import { TIMEOUTS } from '../base/limits.ts'
import type { AgreementOptions } from './agreement.ts'
import { memberById } from './roster.ts'

/** A member's answer to a chosen change. */
export interface Installed {
  readonly member: Member
  /** Digest of a holder's weights, which holders send after some commits; null otherwise. */
  readonly digest: string | null
  /** Reason why the member has not carried out the change; null if it has. */
  readonly failure: Error | null
}

/** Sends the whole roster to all members. Gives the members that could not be reached. */
export async function spread(options: AgreementOptions, roster: Roster): Promise<Installed[]> {
  const empty = { ...roster, members: [] }
  const installed = await installAll(options, empty, roster, null)
  return installed.filter(({ failure }) => failure !== null)
}

/**
 * Sends a chosen change to all members of the new roster, and waits for their answers.
 * @param before the roster before the change; members that it lacks get the whole new roster
 * @param change the chosen change; null if every member gets the whole roster
 * @param lost gives a promise that rejects once the member counts as lost, so that its answer is not awaited
 */
export async function installAll(
  { network, runId, signal }: AgreementOptions,
  before: Roster,
  after: Roster,
  change: Change | null,
  lost?: (member: Member) => Promise<never>,
): Promise<Installed[]> {
  const question = { run: runId, epoch: after.epoch, change }
  // A commit and a rollback wait for the end of the stage's computation.
  const works = change?.type === 'commit' || change?.type === 'rollback'
  const timeoutMs = works ? TIMEOUTS.commitMs : TIMEOUTS.rosterMs
  let whole: Uint8Array | undefined
  return Promise.all(
    after.members.map(async (member): Promise<Installed> => {
      const known = memberById(before, member.id) !== undefined
      const install = (body: Uint8Array | undefined) =>
        ask(network, member.peer, agreement.install, question, { timeoutMs, signal, body })
      const roster = () => {
        whole ??= encodeRoster(after)
        return whole
      }
      try {
        // A member that has missed an epoch answers STALE, and gets the whole roster.
        const first = () => install(known ? undefined : roster())
        const installed = first()
          .catch((error) => {
            // A connection may be dead though neither side was told. A change that comes twice is carried out once.
            if ((error as { code?: string }).code !== 'PEER_LOST') throw error
            return first()
          })
          .catch((error) => {
            if (!known || (error as { code?: string }).code !== 'STALE') throw error
            return install(roster())
          })
        const answer = await (lost === undefined
          ? installed
          : Promise.race([installed, lost(member)]))
        return { member, digest: answer.digest, failure: null }
      } catch (error) {
        signal.throwIfAborted()
        return { member, digest: null, failure: error as Error }
      }
    }),
  )
}

/** Sends the roster to a peer that it does not name any more, so that the peer reads why. The peer may not answer. */
export async function dismiss(
  { network, runId, signal }: AgreementOptions,
  peer: PeerId,
  roster: Roster,
  change: Change,
): Promise<void> {
  const question = { run: runId, epoch: roster.epoch, change }
  const options = { timeoutMs: TIMEOUTS.rosterMs, signal, body: encodeRoster(roster) }
  await ask(network, peer, agreement.install, question, options).catch(() => {})
}
