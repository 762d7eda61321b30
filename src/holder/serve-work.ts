/** What a member does with its stage for others: the coordinator, replicas, whoever is before it on a route, guests. */

import { ProtocolError } from '../../protocols/errors.ts'
import type { Roster } from '../../protocols/membership.ts'
import { type MicrobatchHeader, microbatch, senderOf } from '../../protocols/microbatch.ts'
import type { PeerId } from '../../protocols/network.ts'
import type { Procedure, Service } from '../../protocols/procedure.ts'
import { snapshot } from '../../protocols/snapshot.ts'
import * as steps from '../../protocols/step.ts'
import { weights } from '../../protocols/weights.ts'
import { understudiesOf } from '../copies/understudies.ts'
import { holdersOf, learnersOf, memberById, memberOf } from '../membership/roster.ts'
import { type RunContext, serveRun } from '../membership/serve-run.ts'
import type { Run } from '../run/run.ts'
import type { StageSlot } from './stage-slot.ts'

export interface WorkContext extends RunContext {
  readonly run: Run
  readonly custody: StageSlot
  /** @throws ProtocolError STALE while this peer is in none */
  roster(): Roster
  /** @throws ProtocolError STALE for anyone but the coordinator */
  fromCoordinator(from: PeerId): void
  /** Works between two changes of the roster. */
  inTurn<T>(work: () => Promise<T>): Promise<T>
}

/** @returns what ends each service */
export function serveWork(context: WorkContext): (() => void)[] {
  const { run, custody, roster, fromCoordinator, inTurn } = context
  const serve = <Question extends { run: string }, Answer>(
    procedure: Procedure<Question, Answer>,
    service: Service<Question, Answer>,
  ) => serveRun(context, procedure, service)
  return [
    serve(steps.hold, {
      serve: async (from, question) => {
        fromCoordinator(from)
        return { answer: await custody.hold(question) }
      },
    }),
    serve(steps.prepare, {
      serve: async (from, question) => {
        fromCoordinator(from)
        return { answer: await custody.holding.prepare(question) }
      },
    }),
    serve(steps.reduce, {
      serve: async (from, question) => {
        fromCoordinator(from)
        return { answer: await custody.reducing(question).reduce(question) }
      },
    }),
    serve(steps.gradients, {
      serve: async (from, question) => {
        const held = custody.holding
        const { stage } = question
        const replicas = [
          ...holdersOf(roster(), stage),
          ...learnersOf(roster(), stage),
          ...understudiesOf(run, roster(), stage),
        ]
        if (held.index !== stage || !replicas.some(({ peer }) => peer === from)) {
          throw new ProtocolError('REFUSED', `stage ${stage} is not held by both of us`)
        }
        return held.gradients(question)
      },
    }),
    serve(steps.evaluate, {
      serve: async (from, question) => {
        fromCoordinator(from)
        return { answer: { losses: await custody.holding.evaluate(question) } }
      },
    }),
    serve(steps.learn, {
      serve: async (from, { stage }) => {
        fromCoordinator(from)
        await custody.learn(stage)
        return { answer: {} }
      },
    }),
    serve(steps.study, {
      // Between two changes: the state that is frozen must be that of one step.
      serve: async (from, { stage, has }) => ({
        answer: await inTurn(() => custody.study(from, stage, has)),
      }),
    }),
    serve(steps.studied, {
      serve: async (from) => {
        custody.studied(from)
        return { answer: {} }
      },
    }),
    serve(microbatch, {
      accept: (from, header, length) => {
        checkRoute(roster(), from, header)
        return custody.holding.accept(header, length)
      },
      serve: async (from, header, body) => {
        checkRoute(roster(), from, header)
        custody.holding.receive(header, body)
        return { answer: {} }
      },
    }),
    serve(weights, {
      serve: async (from, question) => {
        const { committed } = roster()
        if (memberOf(roster(), from) === undefined) return custody.chunkOfCopy(from, question)
        const { step, stage, part, offset, length } = question
        return custody.donor(step, stage, committed).donate(step, part, offset, length)
      },
    }),
    serve(snapshot, {
      serve: async (from, { stage, step }) => {
        // Between two changes: only then the weights are those after the roster's step.
        const { kept } = await inTurn(async () =>
          // In an object, since what is carried out next may be the very step that the copy waits for.
          ({ kept: custody.keepCopy(from, stage, step, roster().committed) }),
        )
        await kept
        return { answer: {} }
      },
    }),
  ]
}

/** A microbatch comes from the one before this one on its route, and its route is the roster's. */
function checkRoute(roster: Roster, from: PeerId, header: MicrobatchHeader): void {
  const sender = senderOf(header)
  if (memberById(roster, sender)?.peer !== from) {
    throw new ProtocolError(
      'REFUSED',
      `microbatch ${header.index} should come from member ${sender}`,
    )
  }
  const check = ({ stage, id }: { readonly stage: number; readonly id: number }) => {
    if (memberById(roster, id)?.stage === stage) return
    throw new ProtocolError(
      'STALE',
      `member ${id} does not hold stage ${stage} in epoch ${roster.epoch}`,
    )
  }
  check({ stage: 0, id: header.driver })
  header.route.forEach(check)
}
