/** Tells all members of a roster that it was chosen, and waits until they have carried it out. */

import type { Change } from '../../protocols/agreement.ts'
import * as agreement from '../../protocols/agreement.ts'
import { encodeRoster, type Member, type Roster } from '../../protocols/membership.ts'
import { ask } from '../../protocols/procedure.ts'
import { TIMEOUTS } from '../base/limits.ts'
import type { AgreementOptions } from './agreement.ts'
import { memberById } from './roster.ts'

export interface Installed {
  readonly member: Member
  /** Of a holder's weights, after some commits. */
  readonly digest: string | null
  /** Null if it did as it was told. */
  readonly failure: Error | null
}

/** Sees to it that all members know this roster, whatever they know already. Gives those that could not be told. */
export async function spread(options: AgreementOptions, roster: Roster): Promise<Installed[]> {
  const nobody = { ...roster, members: [] }
  const told = await installAll(options, nobody, roster, null)
  return told.filter(({ failure }) => failure !== null)
}

/**
 * @param before the roster that the change was made to: who is not in it gets the new one whole
 * @param lost rejects when a member is given up: a frozen one would be waited for until the deadline
 */
export async function installAll(
  { network, runId, signal }: AgreementOptions,
  before: Roster,
  after: Roster,
  change: Change | null,
  lost?: (member: Member) => Promise<never>,
): Promise<Installed[]> {
  const question = { run: runId, epoch: after.epoch, change }
  // A stage that is updated or given up ends its work first.
  const works = change?.type === 'commit' || change?.type === 'rollback'
  const timeoutMs = works ? TIMEOUTS.commitMs : TIMEOUTS.rosterMs
  let whole: Uint8Array | undefined
  return Promise.all(
    after.members.map(async (member): Promise<Installed> => {
      const known = memberById(before, member.id) !== undefined
      const tell = (body: Uint8Array | undefined) =>
        ask(network, member.peer, agreement.install, question, { timeoutMs, signal, body })
      const roster = () => {
        whole ??= encodeRoster(after)
        return whole
      }
      try {
        // One that has missed an epoch says so, and gets the whole.
        const told = tell(known ? undefined : roster()).catch((error) => {
          if (!known || (error as { code?: string }).code !== 'STALE') throw error
          return tell(roster())
        })
        const answer = await (lost === undefined ? told : Promise.race([told, lost(member)]))
        return { member, digest: answer.digest, failure: null }
      } catch (error) {
        signal.throwIfAborted()
        return { member, digest: null, failure: error as Error }
      }
    }),
  )
}
