/** The proposer of Paxos: has a change chosen by a quorum. */

import type { Change } from '../../protocols/agreement.ts'
import * as agreement from '../../protocols/agreement.ts'
import type { Clock } from '../../protocols/clock.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Ballot, Member, Roster } from '../../protocols/membership.ts'
import * as membership from '../../protocols/membership.ts'
import type { Network, PeerId } from '../../protocols/network.ts'
import { ask } from '../../protocols/procedure.ts'
import type { Journal } from '../base/journal.ts'
import { TIMEOUTS } from '../base/limits.ts'
import type { Acceptor } from './acceptor.ts'
import { compareBallots, isQuorum, votersOf } from './roster.ts'

/**
 * Thrown when another member is the coordinator, or will be, or when this peer has entered another incarnation of the run:
 * proposals of this member are not chosen any more.
 */
export class Deposed extends Error {
  override readonly name = 'Deposed'
  /** Member that knows a later roster or ballot; null if this peer found out by itself. */
  readonly by: PeerId | null

  constructor(by: PeerId | null, message: string) {
    super(message)
    this.by = by
  }
}

/** Options of a proposer. */
export interface AgreementOptions {
  /** Sends nothing between members any more when this peer has entered another incarnation of the run. */
  readonly network: Network
  readonly clock: Clock
  readonly runId: string
  readonly journal: Journal
  readonly acceptor: Acceptor
  readonly signal: AbortSignal
  /** Called again and again while no majority answers. @param ms for how long, in milliseconds */
  minority(ms: number, roster: Roster, answering: ReadonlySet<number>): Promise<void>
}

/** A change without its author. */
export type Proposal<C = Change> = C extends Change ? Omit<C, 'coordinator' | 'ballot'> : never

/**
 * Has `change` chosen as the epoch after `roster`, and gives the new roster. It tries until a quorum has accepted the
 * change. A proposed change may already be chosen, so that no other change can be proposed before the result is known.
 * @param ballot the ballot that `roster` names, or one that a quorum of the voters of `roster` has promised
 * @throws Deposed if a member has promised a higher ballot, no quorum has answered for `strandedMs`, or this peer has
 *   entered another incarnation
 */
export async function choose(
  options: AgreementOptions,
  roster: Roster,
  ballot: Ballot,
  change: Change,
): Promise<Roster> {
  const { acceptor, clock, minority, signal } = options
  const accepted = new Set<number>()
  const startMs = clock.now()
  for (;;) {
    signal.throwIfAborted()
    await offer(options, ballot, change, roster, accepted)
    if (isQuorum(roster, accepted)) return acceptor.rosters.apply(roster, change)
    const ms = clock.now() - startMs
    await minority(ms, roster, accepted)
    if (ms > TIMEOUTS.strandedMs) throw stranded(ms)
    await clock.sleep(TIMEOUTS.retryMs, signal)
  }
}

/** Error of a coordinator that has waited too long for a majority. */
export function stranded(ms: number): Deposed {
  return new Deposed(null, `no majority has answered for ${ms} ms`)
}

/**
 * Proposes the change once to each voter that has not accepted it, and adds to `accepted`. Resolves when a quorum has
 * accepted, or every asked voter has answered. One voter's word that another coordinates counts only if no quorum accepts.
 */
function offer(
  options: AgreementOptions,
  ballot: Ballot,
  change: Change,
  roster: Roster,
  accepted: Set<number>,
): Promise<void> {
  const { network, runId, acceptor, signal } = options
  const question = { run: runId, ballot, epoch: roster.epoch + 1, change }
  const voting = votersOf(roster)
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  let decided = false
  /** Voters that may still accept. */
  const willing = new Set(voting)
  let refusal: Deposed | null = null
  const refuse = (member: Member, by: PeerId | null, message: string) => {
    refusal ??= new Deposed(by, message)
    willing.delete(member.id)
    if (!isQuorum(roster, willing)) reject(refusal)
  }
  /**
   * @param isRetry true on the retry after sending a lagging member the roster. Retrying now avoids waiting for this
   *   round's slowest member.
   */
  const propose = async (member: Member, isRetry: boolean): Promise<void> => {
    const behind = async () => {
      await sendRoster(options, member, roster)
      if (!isRetry && !decided) await propose(member, true)
    }
    try {
      const timeoutMs = TIMEOUTS.rosterMs
      const answer = await ask(network, member.peer, agreement.propose, question, {
        timeoutMs,
        signal,
      })
      if (answer.accepted) {
        accepted.add(member.id)
        decided ||= isQuorum(roster, accepted)
        if (decided) resolve()
      } else if (answer.epoch > roster.epoch) {
        refuse(member, member.peer, `${member.peer} knows of epoch ${answer.epoch}`)
      } else if (compareBallots(answer.ballot, ballot) > 0) {
        acceptor.observe(answer.ballot)
        refuse(member, member.peer, `${member.peer} has promised another coordinator`)
      } else if (answer.epoch < roster.epoch) {
        await behind()
      } else {
        refuse(member, null, `${member.peer} has accepted another change under this ballot`)
      }
    } catch (error) {
      if (signal.aborted) reject(signal.reason)
      if (error instanceof Deposed) reject(error)
      if (!(error instanceof ProtocolError)) return
      // REFUSED: the member hears another coordinator still. It is asked again if a quorum needs it.
      // NOT_MEMBER: the member knows a roster without this peer. STALE: the member was admitted, but has no roster yet.
      // The change does not fit a message. It never will, so that to ask again would only take time.
      if (error.code === 'TOO_LARGE') reject(error)
      else if (error.code === 'NOT_MEMBER') refuse(member, member.peer, error.message)
      else if (error.code === 'STALE') await behind()
    }
  }
  const asked = roster.members
    .filter(({ id }) => voting.has(id) && !accepted.has(id))
    .map((member) => propose(member, false))
  void Promise.all(asked).then(() => (refusal === null ? resolve() : reject(refusal)))
  return promise
}

/** Sends the whole roster to a member that has missed epochs, or does not know yet that it was admitted. */
export async function sendRoster(
  { network, runId, signal }: AgreementOptions,
  { peer }: Member,
  roster: Roster,
): Promise<void> {
  const question = { run: runId, epoch: roster.epoch, change: null }
  const body = membership.encodeRoster(roster)
  const timeoutMs = TIMEOUTS.rosterMs
  await ask(network, peer, agreement.install, question, { timeoutMs, signal, body }).catch(() => {})
}

/**
 * Fetches the latest roster that `peer` knows, and the id of its incarnation.
 * @throws ProtocolError if the peer does not answer, or its roster is too large or malformed
 */
export async function fetchRoster(
  { network, runId, signal }: Pick<AgreementOptions, 'network' | 'runId' | 'signal'>,
  peer: PeerId,
  decode = membership.decodeRoster,
): Promise<{ roster: Roster; incarnation: string }> {
  let body: Uint8Array | undefined
  const { incarnation } = await ask(
    network,
    peer,
    membership.roster,
    { run: runId },
    {
      timeoutMs: TIMEOUTS.rosterMs,
      signal,
      accept: (_, length) => {
        if (length > membership.ROSTER_BYTES) {
          throw new ProtocolError('TOO_LARGE', `a roster of ${length} bytes`)
        }
        body = new Uint8Array(length)
        return body
      },
    },
  )
  return { roster: decode(peer, body), incarnation }
}
