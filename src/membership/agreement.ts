/** The asking side of the agreement: has a change chosen by a quorum, or asks to become the coordinator. */

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
import { applyChange, compareBallots, isQuorum, rosterFrom } from './roster.ts'

/** Another member coordinates now, or will: what this one proposes is not chosen any more. */
export class Deposed extends Error {
  override readonly name = 'Deposed'
  /** Who said so and knows more; null if this peer found out by itself. */
  readonly by: PeerId | null

  constructor(by: PeerId | null, message: string) {
    super(message)
    this.by = by
  }
}

export interface AgreementOptions {
  readonly network: Network
  readonly clock: Clock
  readonly runId: string
  readonly journal: Journal
  readonly acceptor: Acceptor
  readonly signal: AbortSignal
}

/** What is to change, without who proposes it. */
export type Proposal<C = Change> = C extends Change ? Omit<C, 'coordinator' | 'ballot'> : never

/**
 * Has `change` chosen as the next epoch. Tries until a quorum has accepted it: once proposed it may have been chosen,
 * so that nothing else can be done before that is known.
 * @param ballot the coordinator's, or one that a quorum has promised
 * @throws Deposed if a member has promised a higher ballot, or no quorum has answered for very long
 */
export async function choose(
  options: AgreementOptions,
  ballot: Ballot,
  change: Change,
): Promise<Roster> {
  const { acceptor, clock, journal, signal } = options
  const { roster } = acceptor
  const accepted = new Set<number>()
  let told = false
  const begun = clock.now()
  for (;;) {
    signal.throwIfAborted()
    await offer(options, ballot, change, roster, accepted)
    if (isQuorum(roster, accepted)) return applyChange(roster, change)
    if (!told) {
      journal.write(noMajority(accepted.size, roster.members.length))
      told = true
    }
    const ms = clock.now() - begun
    if (ms > TIMEOUTS.strandedMs) throw stranded(ms)
    await clock.sleep(TIMEOUTS.retryMs, signal)
  }
}

/** For the journal: why a coordinator does not get on. */
export function noMajority(answering: number, members: number) {
  const reason = `only ${answering} of ${members} members answer: without a majority nothing is committed or recovered`
  return { type: 'waiting', stages: [], reason } as const
}

export function stranded(ms: number): Deposed {
  return new Deposed(null, `no majority has answered for ${ms} ms`)
}

/** Resolves when a quorum has accepted, or all who were asked have answered. */
function offer(
  options: AgreementOptions,
  ballot: Ballot,
  change: Change,
  roster: Roster,
  accepted: Set<number>,
): Promise<void> {
  const { network, runId, acceptor, signal } = options
  const question = { run: runId, ballot, epoch: roster.epoch + 1, change }
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  let decided = false
  /** @param isAgain it was behind, and has been told: to wait for a later round is to wait for the slowest of this one */
  const put = async (member: Member, isAgain: boolean): Promise<void> => {
    const behind = async () => {
      await tell(options, member, roster)
      if (!isAgain && !decided) await put(member, true)
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
        reject(new Deposed(member.peer, `${member.peer} knows of epoch ${answer.epoch}`))
      } else if (compareBallots(answer.ballot, ballot) > 0) {
        acceptor.see(answer.ballot)
        reject(new Deposed(member.peer, `${member.peer} has promised another coordinator`))
      } else if (answer.epoch < roster.epoch) {
        await behind()
      } else {
        reject(new Deposed(null, `${member.peer} has accepted another change under this ballot`))
      }
    } catch (error) {
      if (signal.aborted) reject(signal.reason)
      if (!(error instanceof ProtocolError)) return
      // It knows of a roster without this member; or of none yet, though it was let in.
      if (error.code === 'NOT_MEMBER') reject(new Deposed(member.peer, error.message))
      else if (error.code === 'STALE') await behind()
    }
  }
  const asked = roster.members
    .filter(({ id }) => !accepted.has(id))
    .map((member) => put(member, false))
  void Promise.all(asked).then(() => resolve())
  return promise
}

/** Brings a member that has missed epochs, or has never heard that it was let in, up to `roster`. */
async function tell(
  { network, runId, signal }: AgreementOptions,
  { peer }: Member,
  roster: Roster,
): Promise<void> {
  const question = { run: runId, epoch: roster.epoch, change: null }
  const body = membership.encodeRoster(roster)
  const timeoutMs = TIMEOUTS.rosterMs
  await ask(network, peer, agreement.install, question, { timeoutMs, signal, body }).catch(() => {})
}

/** What came of asking to coordinate. */
type Campaign =
  /** A quorum has promised; the change that has to be proposed again first, if any was accepted before. */
  | { readonly result: 'elected'; readonly ballot: Ballot; readonly pending: Change | null }
  /** Somebody knows of a later epoch. */
  | { readonly result: 'behind'; readonly peer: PeerId }
  | { readonly result: 'refused'; readonly reason: string }

/** Asks all members for promises, under a ballot above all that were seen. */
export async function campaign(options: AgreementOptions, own: Member): Promise<Campaign> {
  const { network, runId, acceptor, signal } = options
  const { roster } = acceptor
  const ballot = acceptor.nextBallot(own.id)
  const question = { run: runId, ballot, epoch: roster.epoch }
  const promised = new Set<number>()
  /** Those that have promised or may. */
  const willing = new Set(roster.members.map(({ id }) => id))
  const reasons: string[] = []
  let pending: { ballot: Ballot; change: Change } | null = null
  let ahead: PeerId | null = null
  const { promise, resolve } = Promise.withResolvers<void>()
  const asked = roster.members.map(async (member) => {
    const { id, peer } = member
    try {
      const timeoutMs = TIMEOUTS.rosterMs
      const answer = await ask(network, peer, agreement.promise, question, { timeoutMs, signal })
      if (!answer.promised) {
        acceptor.see(answer.ballot)
        reasons.push(answer.reason)
        willing.delete(id)
        // The lost one, who is asked too, need not be waited for when the others are too few.
        if (!isQuorum(roster, willing)) resolve()
        if (answer.epoch > roster.epoch) {
          ahead = peer
          resolve()
        }
        return
      }
      promised.add(id)
      const { accepted } = answer
      if (
        accepted !== null &&
        accepted.epoch === roster.epoch + 1 &&
        (pending === null || compareBallots(accepted.ballot, pending.ballot) > 0)
      ) {
        pending = accepted
      }
      if (isQuorum(roster, promised)) resolve()
    } catch (error) {
      if (error instanceof ProtocolError && error.code === 'NOT_MEMBER') {
        ahead = peer
        resolve()
      }
      reasons.push((error as Error).message)
      // It was let in and has never heard of it: it can promise the next time. Not at once: being told counts as hearing of
      // the coordinator, and keeps its promise to it for a while.
      if (error instanceof ProtocolError && error.code === 'STALE') {
        await tell(options, member, roster)
      }
    }
  })
  void Promise.all(asked).then(() => resolve())
  await promise
  signal.throwIfAborted()
  if (ahead !== null) return { result: 'behind', peer: ahead }
  if (isQuorum(roster, promised)) {
    return {
      result: 'elected',
      ballot,
      pending: (pending as { change: Change } | null)?.change ?? null,
    }
  }
  const count = `${promised.size} of ${roster.members.length} members promise`
  return { result: 'refused', reason: [count, ...new Set(reasons)].join('; ').slice(0, 2000) }
}

/** The roster as `peer` knows it. */
export async function fetchRoster(
  { network, runId, signal }: Pick<AgreementOptions, 'network' | 'runId' | 'signal'>,
  peer: PeerId,
): Promise<Roster> {
  let body: Uint8Array | undefined
  await ask(
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
  return rosterFrom(peer, body)
}
