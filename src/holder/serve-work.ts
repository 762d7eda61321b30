/** The services that work on a member's stage: for the coordinator, other holders, new replicas, understudies, guests. */
import { decodeDrives, drivesBytesMax, encodeLosses } from '../../protocols/drives.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Roster } from '../../protocols/membership.ts'
import { type MicrobatchHeader, microbatch, senderOf } from '../../protocols/microbatch.ts'
import type { PeerId } from '../../protocols/network.ts'
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
  readonly slot: StageSlot
  /** @throws ProtocolError STALE while this peer is in no roster */
  roster(): Roster
  /** Runs `work` between two changes of the roster. */
  inTurn<T>(work: () => Promise<T>): Promise<T>
}

type StopServing = () => void

/** Begins to serve. @returns one function for each service, which ends it */
export function serveWork(context: WorkContext): StopServing[] {
  return [
    ...serveStages(context),
    ...serveSteps(context),
    serveMicrobatches(context),
    ...serveUnderstudies(context),
    ...serveState(context),
  ]
}

/** Taking a stage: one that nobody holds, or a further replica. */
function serveStages(context: WorkContext): StopServing[] {
  const { slot } = context
  return [
    serveRun(context, steps.hold, {
      serve: async (_, question) => ({ answer: await slot.hold(question) }),
    }),
    serveRun(context, steps.learn, {
      serve: async (_, { stage }) => {
        await slot.learn(stage)
        return { answer: {} }
      },
    }),
  ]
}

/** The gradients of a step, and evaluation. */
function serveSteps(context: WorkContext): StopServing[] {
  const { slot, run } = context
  const bytesMax = drivesBytesMax(
    Math.max(run.microbatches, run.evaluation.microbatches),
    run.stages,
  )
  const acceptDrives = (length: number) => {
    if (length <= bytesMax) return new Uint8Array(length)
    throw new ProtocolError('TOO_LARGE', `a plan of ${length} bytes, more than ${bytesMax}`)
  }
  return [
    serveRun(context, steps.prepare, {
      accept: (_, __, length) => acceptDrives(length),
      serve: async (from, question, body) => {
        const drives = decodeDrives(from, body)
        const prepared = await slot.expectActive().prepare({ ...question, drives })
        const { losses, ...answer } = prepared
        return { answer, body: encodeLosses(losses) }
      },
    }),
    serveRun(context, steps.reduce, {
      serve: async (_, question) => ({ answer: await slot.reducing(question).reduce(question) }),
    }),
    serveRun(context, steps.gradients, {
      serve: async (from, question) => {
        const active = slot.expectActive()
        checkReplica(context, from, question.stage, active.index)
        return active.gradients(question)
      },
    }),
    serveRun(context, steps.evaluate, {
      accept: (_, __, length) => acceptDrives(length),
      serve: async (from, question, body) => {
        const drives = decodeDrives(from, body)
        const losses = await slot.expectActive().evaluate({ ...question, drives })
        return { answer: {}, body: encodeLosses(losses) }
      },
    }),
  ]
}

/** The route is checked before a tensor is accepted. A message without a tensor is refused by `receive`. */
function serveMicrobatches(context: WorkContext): StopServing {
  const { slot, roster } = context
  return serveRun(context, microbatch, {
    accept: (from, header, length) => {
      checkRoute(roster(), from, header)
      return slot.expectActive().accept(header, length)
    },
    serve: async (_, header, body) => {
      slot.expectActive().receive(header, body)
      return { answer: {} }
    },
  })
}

/** Freezing the state for the stage's understudy, until the understudy has it. */
function serveUnderstudies(context: WorkContext): StopServing[] {
  const { slot, inTurn } = context
  return [
    serveRun(context, steps.study, {
      // Between two changes of the roster, so that the frozen state is that of one step.
      serve: async (from, { stage, has }) => ({
        answer: await inTurn(() => slot.study(from, stage, has)),
      }),
    }),
    serveRun(context, steps.studied, {
      serve: async (from) => {
        slot.studied(from)
        return { answer: {} }
      },
    }),
  ]
}

/** The stage's state: for the recovery of a stage, for a new replica, and weights for guests. */
function serveState(context: WorkContext): StopServing[] {
  const { slot, roster, inTurn } = context
  return [
    serveRun(context, weights, {
      serve: async (from, question) => {
        const { committed } = roster()
        if (memberOf(roster(), from) === undefined) {
          return slot.upkeep.donateToGuest(slot.expectActive(), from, question)
        }
        const { step, stage, part, offset, length } = question
        return slot.donor(step, stage, committed).donate(step, part, offset, length)
      },
    }),
    serveRun(context, snapshot, {
      serve: async (from, question) => {
        // Between two changes of the roster, when the weights are those after its last step. The promise is returned in
        // an object and not awaited in turn: the next change may be the very step that the copy waits for.
        const { kept } = await inTurn(async () => {
          const { committed } = roster()
          return {
            kept: slot.upkeep.keepGuestCopy(slot.expectActive(), from, question, committed),
          }
        })
        await kept
        return { answer: {} }
      },
    }),
  ]
}

/** Only members with the same stage may have its gradients. @throws ProtocolError REFUSED */
function checkReplica(
  { run, roster }: WorkContext,
  from: PeerId,
  stage: number,
  ownStage: number,
): void {
  const replicas = [
    ...holdersOf(roster(), stage),
    ...learnersOf(roster(), stage),
    ...understudiesOf(run, roster(), stage),
  ]
  if (ownStage === stage && replicas.some(({ peer }) => peer === from)) return
  throw new ProtocolError('REFUSED', `stage ${stage} is not held by both of us`)
}

/** Checks that the sender is the hop before this one, and that the roster has all hops. @throws ProtocolError */
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
