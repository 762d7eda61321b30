/**
 * Who may ask what. A question is checked here before its body is read. What a peer may ask beyond its role stands beside
 * the procedure: for example, the members that a route names.
 */

import * as agreement from '../../protocols/agreement.ts'
import { saved } from '../../protocols/checkpoint.ts'
import { copy, keep, kept } from '../../protocols/copies.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import { compareFoundings, moveOver } from '../../protocols/founding.ts'
import * as incarnations from '../../protocols/incarnation.ts'
import type { Roster } from '../../protocols/membership.ts'
import * as membership from '../../protocols/membership.ts'
import { microbatch } from '../../protocols/microbatch.ts'
import type { PeerId } from '../../protocols/network.ts'
import { notice, probe, reach } from '../../protocols/reach.ts'
import { comeBack, offer } from '../../protocols/return.ts'
import { shards } from '../../protocols/shards.ts'
import { snapshot } from '../../protocols/snapshot.ts'
import * as steps from '../../protocols/step.ts'
import { weights } from '../../protocols/weights.ts'
import { coordinatorOf, memberOf } from './roster.ts'

/**
 * `guest`: every peer with the manifest, and the secret of a run that has one. `member`: a peer that the roster names.
 * `holder`: a member that holds or learns the stage that the question names. `coordinator`: the one that the roster names.
 */
export type Asker = 'guest' | 'member' | 'holder' | 'coordinator'

/** The least role of each procedure's asker. */
const ROWS: readonly (readonly [Asker, { readonly protocol: string }])[] = [
  // To join, and to learn who is in the run.
  ['guest', membership.hello],
  ['guest', membership.roster],
  ['guest', membership.vouch],
  ['guest', membership.heartbeat],
  // It concerns the asker alone, who may be out of the roster already.
  ['guest', membership.leave],
  ['guest', probe],
  // Peers of other foundings or incarnations, which no roster here names. `meeting.ts` and `foundings.ts` check them.
  ['guest', compareFoundings],
  ['guest', incarnations.gather],
  ['guest', incarnations.meet],
  ['guest', incarnations.supersede],
  // Peers that came back after all processes had ended. They are in no roster.
  ['guest', offer],
  ['guest', comeBack],
  // The model, for `export`, `eval` and `generate` from a live run, and the data for newcomers.
  ['guest', weights],
  ['guest', snapshot],
  ['guest', shards],
  // A member that this peer does not know yet, with a later roster. `belief.ts` checks it, and a ballot's owner.
  ['guest', agreement.propose],
  ['guest', agreement.promise],
  ['guest', agreement.install],
  // Members.
  ['member', incarnations.incarnate],
  ['member', membership.moved],
  ['member', microbatch],
  ['member', steps.gradients],
  ['member', steps.study],
  ['member', steps.studied],
  ['member', steps.report],
  ['member', saved],
  ['member', kept],
  ['member', copy],
  // Holders of the stage that is asked about.
  ['holder', keep],
  ['holder', steps.learnt],
  // The coordinator.
  ['coordinator', membership.finish],
  ['coordinator', moveOver],
  ['coordinator', incarnations.superseded],
  ['coordinator', incarnations.minority],
  ['coordinator', steps.hold],
  ['coordinator', steps.learn],
  ['coordinator', steps.prepare],
  ['coordinator', steps.reduce],
  ['coordinator', steps.evaluate],
  ['coordinator', reach],
  ['coordinator', notice],
]

/** The least role of the asker, by protocol id. */
export const ASKERS: ReadonlyMap<string, Asker> = new Map(
  ROWS.map(([asker, { protocol }]) => [protocol, asker]),
)

export interface Border {
  /** The roster that this peer knows; null while it is in none. */
  roster(): Roster | null
  /** The coordinator asks, which is a sign of life of it. */
  heardCoordinator(): void
}

/**
 * Checks that a peer may ask.
 * @throws ProtocolError STALE while this peer is in no roster, or from a peer that does not coordinate; NOT_MEMBER; REFUSED
 */
export function checkAsker(
  { roster, heardCoordinator }: Border,
  protocol: string,
  from: PeerId,
  question: { readonly stage?: unknown },
): void {
  const asker = ASKERS.get(protocol)
  if (asker === undefined) throw new Error(`nobody has said who may ask ${protocol}`)
  if (asker === 'guest') return
  const known = roster()
  if (known === null) throw new ProtocolError('STALE', 'this peer is in no roster')
  if (asker === 'coordinator') {
    if (coordinatorOf(known).peer !== from) {
      throw new ProtocolError('STALE', `${from} does not coordinate epoch ${known.epoch}`)
    }
    heardCoordinator()
    return
  }
  const member = memberOf(known, from)
  if (member === undefined) {
    throw new ProtocolError('NOT_MEMBER', `${from} is not in the roster of epoch ${known.epoch}`)
  }
  if (asker === 'holder' && member.stage !== question.stage) {
    throw new ProtocolError('REFUSED', `${from} does not hold stage ${question.stage}`)
  }
}
