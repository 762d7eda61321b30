/** A member's services that do not need its stage: joining and leaving, the agreement, and questions to the coordinator. */
import * as agreement from '../../protocols/agreement.ts'
import { saved } from '../../protocols/checkpoint.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import { compareFoundings, moveOver } from '../../protocols/founding.ts'
import type { Contact, Lineage } from '../../protocols/incarnation.ts'
import * as incarnations from '../../protocols/incarnation.ts'
import type { Ballot, Roster } from '../../protocols/membership.ts'
import * as membership from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'
import * as steps from '../../protocols/step.ts'
import type { Belief } from '../membership/belief.ts'
import type { CoordinatorMonitor } from '../membership/coordinator-monitor.ts'
import type { Foundings } from '../membership/foundings.ts'
import { contactOf, type Incarnation } from '../membership/incarnation.ts'
import type { MemberEvents } from '../membership/member-events.ts'
import { coordinatorOf, memberById, memberOf } from '../membership/roster.ts'
import { type RunContext, serveRun } from '../membership/serve-run.ts'
import type { UndecidedPeers } from '../membership/undecided.ts'
import type { Coordination, HelloQuestion } from './coordination.ts'
import type { Founding } from './founding.ts'
import type { RosterFollower } from './roster-follower.ts'
import { serveReach } from './serve-reach.ts'

export interface ServiceContext extends RunContext {
  readonly follower: RosterFollower
  readonly belief: Belief
  readonly monitor: CoordinatorMonitor
  readonly events: MemberEvents
  readonly incarnation: Incarnation
  readonly founding: Founding
  /** This incarnation is over, and this peer enters the one that stays. */
  superseded(lineage: Lineage, contact: Contact): void
  /** Peers that search for the run as this one does while it is in no roster. */
  readonly undecided: UndecidedPeers
  readonly foundings: Foundings
  /** Null unless this peer coordinates the run. */
  coordination(): Coordination | null
  /** What this peer's stage has to do. */
  work(): Work
}

/** What a stage has to do. */
export interface Work {
  /** Microbatches that wait for the stage, and the one in work. */
  readonly queuedWork: number
  /** Milliseconds for which the stage has worked on the one in work; 0 without one. */
  readonly workingMs: number
}

type StopServing = () => void

/** Begins to serve. @returns one function for each service, which ends it */
export function serveMember(context: ServiceContext): StopServing[] {
  return [
    ...serveMembership(context),
    ...serveFoundings(context),
    ...serveAgreement(context),
    ...serveIncarnations(context),
    ...serveCoordination(context),
    ...serveReach(context),
  ]
}

function serveMembership(context: ServiceContext): StopServing[] {
  const { follower, events } = context
  return [
    serveRun(
      context,
      membership.hello,
      { serve: async (from, question) => ({ answer: await answerHello(context, from, question) }) },
      (successors) => ({ result: 'resharded' as const, successors: [...successors] }),
    ),
    serveRun(context, membership.roster, {
      serve: async () => {
        const { roster } = follower.expectAcceptor()
        const answer = { epoch: roster.epoch, incarnation: context.incarnation.id }
        return { answer, body: membership.encodeRoster(roster) }
      },
    }),
    serveRun(context, membership.vouch, {
      serve: async (_, { peer }) => {
        follower.expectAcceptor()
        return { answer: { role: context.belief.roleOf(peer) } }
      },
    }),
    serveRun(context, membership.heartbeat, {
      serve: async (from, { epoch }) => ({ answer: answerHeartbeat(context, from, epoch) }),
    }),
    serveRun(context, membership.finish, {
      serve: async (_, { committed, failure }) => {
        events.add({ type: 'finished', committed, failure })
        return { answer: {} }
      },
    }),
  ]
}

function serveFoundings(context: ServiceContext): StopServing[] {
  return [
    serveRun(context, compareFoundings, {
      serve: async (from, question) => ({ answer: context.foundings.answer(from, question) }),
    }),
    serveRun(context, moveOver, {
      serve: async (_, { peer, addresses, reason }) => {
        await context.foundings.moveOver(reason, { peer, addresses })
        return { answer: {} }
      },
    }),
  ]
}

function serveAgreement(context: ServiceContext): StopServing[] {
  const { follower } = context
  return [
    serveRun(context, agreement.propose, {
      serve: async (from, question) => {
        const acceptor = follower.expectAcceptor()
        checkMember(acceptor.roster, from, question.epoch - 1)
        checkBallot(acceptor.roster, from, question.ballot)
        const answer = acceptor.propose(question, objectionTo(context, from, acceptor.roster))
        // A refused proposal is no sign of a coordinator: the proposer may fail, and then another is needed.
        if (answer.accepted) heardProposal(context, from, acceptor.roster)
        return { answer }
      },
    }),
    serveRun(context, agreement.promise, {
      serve: async (from, question) => {
        const acceptor = follower.expectAcceptor()
        checkVoter(acceptor.roster, from, question.epoch)
        checkBallot(acceptor.roster, from, question.ballot)
        const answer = acceptor.promise(question, objectionTo(context, from, acceptor.roster))
        if (answer.promised) heardProposal(context, from, acceptor.roster)
        return { answer }
      },
    }),
    serveRun(context, agreement.install, {
      accept: (_, __, length) => {
        if (length <= membership.ROSTER_BYTES) return new Uint8Array(length)
        throw new ProtocolError('TOO_LARGE', `a roster of ${length} bytes`)
      },
      serve: async (from, { epoch, change }, body) => {
        const known = follower.roster
        const isNews = body !== undefined || known === null || epoch > known.epoch
        if (isNews && !(await context.belief.believes(from))) {
          throw new ProtocolError('REFUSED', `${from} does not coordinate, as far as is known here`)
        }
        const whole = body && follower.rosters.decode(from, body)
        return { answer: await follower.install(epoch, change, whole) }
      },
    }),
  ]
}

/** What makes one incarnation of two, or the next one without a majority. */
function serveIncarnations(context: ServiceContext): StopServing[] {
  const { founding, follower, incarnation, journal } = context
  return [
    serveRun(context, incarnations.gather, {
      serve: async (from, { coordinates }) => ({
        answer: await founding.answer(from, coordinates),
      }),
    }),
    serveRun(context, incarnations.incarnate, {
      accept: (_, __, length) => {
        if (length <= membership.ROSTER_BYTES) return new Uint8Array(length)
        throw new ProtocolError('TOO_LARGE', `a roster of ${length} bytes`)
      },
      serve: async (from, { lineage }, body) => {
        founding.accept(from, lineage, body)
        return { answer: {} }
      },
    }),
    serveRun(context, incarnations.meet, {
      serve: async (from, question) => {
        context.coordination()?.met(from, question)
        const { roster } = follower
        const coordinator = roster === null ? null : contactOf(coordinatorOf(roster))
        const { id } = incarnation
        return { answer: { incarnation: id, committed: roster?.committed ?? 0, coordinator } }
      },
    }),
    serveRun(context, incarnations.supersede, {
      serve: async (_, question) => {
        const coordination = context.coordination()
        if (coordination === null) {
          throw new ProtocolError('REFUSED', 'this peer does not coordinate the run')
        }
        coordination.supersede(question)
        const { committed } = follower.expectAcceptor().roster
        return { answer: { committed, lineage: incarnation.lineage } }
      },
    }),
    serveRun(context, incarnations.superseded, {
      serve: async (_, { lineage, contact }) => {
        context.superseded(lineage, contact)
        return { answer: {} }
      },
    }),
    serveRun(context, incarnations.minority, {
      serve: async (_, { reason }) => {
        journal.write({ type: 'waiting', stages: [], reason })
        return { answer: {} }
      },
    }),
  ]
}

/** Passes questions on to the coordinator's part. @throws ProtocolError REFUSED unless this peer coordinates */
function serveCoordination(context: ServiceContext): StopServing[] {
  const coordination = (): Coordination => {
    const present = context.coordination()
    if (present !== null) return present
    throw new ProtocolError('REFUSED', 'this peer does not coordinate the run')
  }
  return [
    serveRun(context, membership.leave, {
      serve: async (from, { reason, withinMs }) => {
        await coordination().leave(from, reason, withinMs)
        return { answer: {} }
      },
    }),
    serveRun(context, membership.moved, {
      serve: async (from, question) => {
        coordination().moved(from, question)
        return { answer: {} }
      },
    }),
    serveRun(context, steps.learnt, {
      serve: async (from, question) => {
        coordination().learnt(from, question)
        return { answer: {} }
      },
    }),
    serveRun(context, saved, {
      serve: async (from, question) => {
        coordination().saved(from, question)
        return { answer: {} }
      },
    }),
    serveRun(context, steps.report, {
      serve: async (from, question) => {
        coordination().report(from, question)
        return { answer: {} }
      },
    }),
  ]
}

async function answerHello(
  { coordination, follower, founding, incarnation, network, undecided }: ServiceContext,
  from: PeerId,
  question: HelloQuestion,
) {
  founding.newcomers.asks(from)
  const isElsewhere = question.incarnation !== incarnation.id
  if (follower.roster !== null && isElsewhere) {
    return { result: 'moved' as const, lineage: incarnation.lineage }
  }
  const present = coordination()
  if (present !== null && follower.roster !== null) {
    await present.admit(from, question)
    // This peer may have left the roster meanwhile.
    const { roster } = follower.expectAcceptor()
    return { result: 'welcome' as const, committed: roster.committed }
  }
  if (follower.roster === null) {
    network.learn(from, question.addresses)
    undecided.hear(from, question.claim)
    return { result: 'later' as const, claim: undecided.claim }
  }
  const { peer, addresses } = coordinatorOf(follower.roster)
  // This peer is to coordinate but has not begun, or has just stopped.
  if (peer === network.self) return { result: 'later' as const, claim: null }
  return { result: 'ask' as const, coordinator: peer, addresses }
}

function answerHeartbeat(
  { follower, monitor, work, foundings }: ServiceContext,
  from: PeerId,
  epoch: number,
) {
  const { roster, session } = follower
  if (foundings.gaveUp(from) && (roster === null || memberOf(roster, from) === undefined)) {
    throw new ProtocolError('NOT_MEMBER', 'the run was founded twice, and that founding ended')
  }
  if (roster !== null) {
    if (memberOf(roster, from) === undefined && epoch <= roster.epoch) {
      // A member that was dropped while it was silent must learn of it. Otherwise it would wait for ever.
      throw new ProtocolError('NOT_MEMBER', `${from} is not in the roster any more`)
    }
    if (from === coordinatorOf(roster).peer) monitor.heard()
  }
  return { epoch: roster?.epoch ?? 0, session, ...work() }
}

/** @param known the epoch that the asker knows: it may be in a roster that has not come here yet */
function checkMember(roster: Roster, from: PeerId, known: number): void {
  if (known > roster.epoch || memberOf(roster, from) !== undefined) return
  throw new ProtocolError('NOT_MEMBER', `${from} is not in the roster of epoch ${roster.epoch}`)
}

/**
 * A candidate that this peer does not know yet sends its roster, and asks again.
 * @param known the epoch that the candidate knows
 */
function checkVoter(roster: Roster, from: PeerId, known: number): void {
  checkMember(roster, from, known)
  if (memberOf(roster, from) !== undefined) return
  throw new ProtocolError('STALE', `${from} is not in the roster of epoch ${roster.epoch} yet`)
}

/** A member proposes under its own ballots only. @throws ProtocolError REFUSED */
function checkBallot(roster: Roster, from: PeerId, { id }: Ballot): void {
  if (memberById(roster, id)?.id === memberOf(roster, from)?.id) return
  throw new ProtocolError('REFUSED', `ballots of member ${id} are not ${from}'s`)
}

/** Why the peer should not take the coordinator's place; null if one is needed. */
function objectionTo(
  { coordination, monitor }: ServiceContext,
  from: PeerId,
  roster: Roster,
): string | null {
  if (from === coordinatorOf(roster).peer) return null
  if (coordination() !== null) return 'the coordinator is here, and at work'
  return monitor.hearsCoordinator ? 'the coordinator is heard of here' : null
}

function heardProposal({ network, monitor }: ServiceContext, from: PeerId, roster: Roster): void {
  // A member's own proposal tells it nothing about the coordinator.
  if (from === network.self) return
  if (from === coordinatorOf(roster).peer) monitor.heard()
  else monitor.yield()
}
