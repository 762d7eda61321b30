/**
 * The step loop, as the coordinator runs it. Read this first.
 *
 * A step is synchronous. M microbatches go forward through the body stages and back, and each stage adds each of them to
 * its gradient sum once. When every stage has all M, a quorum of the members agrees that the step is made, and every
 * holder applies its update. When a holder is lost in the middle and its stage has another, only the microbatches that
 * visited it are driven again (step.ts). When a stage loses its last holder, the stage is rebuilt (CheckFree, arXiv
 * 2506.15461) and the step starts over.
 */
import type { Clock } from '../../protocols/clock.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import { evaluate } from '../../protocols/step.ts'
import { wholeNorm } from '../../stages/clip.ts'
import type { Journal } from '../base/journal.ts'
import { STEP_ATTEMPTS, TIMEOUTS } from '../base/limits.ts'
import type { Run } from '../run/run.ts'
import { learningRateAt } from '../run/schedule.ts'
import { askDriver } from './ask-driver.ts'
import { BatchFault } from './batch-fault.ts'
import type { Coordinator } from './coordinator.ts'
import { normalOrder, planJourneys, visits } from './journeys.ts'
import { RunFailure } from './run-failure.ts'
import { SkippedSteps } from './skipped-steps.ts'
import { isTransient, Step } from './step.ts'

export interface TrainOptions {
  readonly run: Run
  readonly clock: Clock
  readonly journal: Journal
  /** The step after which this run ends: its manifest's number of steps, or an earlier one. */
  readonly lastStep: number
}

/**
 * Trains until the last step.
 * @throws RunFailure when the run cannot go on; and any error that is a fault of this peer
 */
export async function train(coordinator: Coordinator, options: TrainOptions): Promise<void> {
  const { run, clock, journal, lastStep } = options
  const skips = new SkippedSteps(run, journal)
  let evaluated = 0
  let failures = 0
  for (;;) {
    await coordinator.settle()
    const { epoch, step } = coordinator.fence
    const { committed } = coordinator.roster
    // After a rollback a step is made again, and evaluated again.
    evaluated = Math.min(evaluated, committed)
    const isEvaluation =
      committed > evaluated &&
      (committed % run.evaluation.everySteps === 0 || committed === lastStep)
    try {
      if (isEvaluation) {
        await evaluateWeights(coordinator, options)
        evaluated = committed
      } else if (committed < lastStep) {
        await makeStep(coordinator, options, skips)
      } else {
        return
      }
      failures = 0
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error
      coordinator.signal.throwIfAborted()
      coordinator.abandon()
      journal.write({ type: 'aborted', step, epoch, code: error.code, reason: error.message })
      // Peers and links may fail however often. Any other failure that keeps coming back ends the run.
      if (isTransient(error.code)) {
        await clock.sleep(TIMEOUTS.retryMs, coordinator.signal)
        continue
      }
      failures++
      if (!(error instanceof BatchFault) && failures < STEP_ATTEMPTS) continue
      const reason = `step ${step} failed ${failures} times, the last time because ${error.message}`
      if (!(error instanceof BatchFault) && error.code !== 'NON_FINITE')
        throw new RunFailure(reason)
      failures = 0
      if (isEvaluation) {
        const message = `the held-out loss after step ${committed} is not finite: ${error.message}`
        journal.write({ type: 'notice', message })
        evaluated = committed
      } else {
        const fault = error instanceof BatchFault ? error : null
        skips.note(step, fault ?? new BatchFault(error.code, reason, [], []))
      }
    }
  }
}

async function makeStep(
  coordinator: Coordinator,
  options: TrainOptions,
  skips: SkippedSteps,
): Promise<void> {
  const { run, clock, journal } = options
  const begun = clock.now()
  const { fence } = coordinator
  const fault = skips.faultOf(fence.step)

  // Forward and backward. Every holder then has its stage's gradient, summed over M microbatches and all replicas.
  const isSkipped = fault !== null
  const step = new Step(coordinator, { ...options, isSkipped })
  const { loss, version, ...gradients } = await step.gradients()

  if (fault !== null) {
    await coordinator.commit(skippedDecision(coordinator, run, version), begun)
    skips.skipped(fence.step, fault)
    return coordinator.teller.tell(`step ${fence.step} is skipped: ${fault.message}`)
  }

  // All are prepared. With a quorum the step is decided: a holder that cannot apply it any more is lost, the step is not.
  const learningRate = learningRateAt(run.optimizer, fence.step, run.steps)
  const norm = wholeNorm(gradients.norms)
  const decision = { step: fence.step, learningRate, norm, loss, version }
  const ms = await coordinator.commit(decision, begun)

  const { batch, context } = run.microbatch
  journal.write({
    type: 'step',
    step: fence.step,
    epoch: fence.epoch,
    loss,
    learningRate,
    tokens: run.microbatches * batch * context,
    seconds: ms / 1000,
    ...gradients,
    peers: coordinator.roster.members.length,
  })
  skips.made(fence.step, loss)
}

/** With this learning rate the weights stay as they are. The loss is that of the step before, or that of a guess. */
function skippedDecision({ fence, roster }: Coordinator, { model }: Run, version: number) {
  const loss = roster.loss ?? Math.log(model.vocabSize)
  return { step: fence.step, learningRate: 0, norm: 0, loss, version }
}

/** Evaluates the committed weights on held-out text, and journals the mean loss in nats a token. */
async function evaluateWeights(
  coordinator: Coordinator,
  { run, journal }: TrainOptions,
): Promise<void> {
  const { microbatches } = run.evaluation
  const failed = Promise.withResolvers<never>()
  failed.promise.catch(() => {})
  const round = coordinator.beginRound((from, { code, reason }) => {
    failed.reject(new ProtocolError(code, `${from}: ${reason}`))
  })
  const orders = Array.from({ length: microbatches }, () => normalOrder(run.stages))
  const journeys = planJourneys(coordinator.roster, orders, (id) => coordinator.speeds.of(id))
  const answers = coordinator.holders.map(async (member) => {
    const { id, stage, peer } = member
    const drives = journeys.filter(({ driver }) => stage === 0 && driver === id)
    const visiting = journeys.filter((journey) => visits(journey, member))
    const expected = visiting.map(({ index }) => index)
    const question = { ...coordinator.fence, expected }
    return askDriver(round, peer, evaluate, question, drives, TIMEOUTS.evaluateMs)
  })
  const answered = await Promise.race([Promise.all(answers), failed.promise])
  const losses = answered.flatMap((answer) => answer.losses)
  const loss = losses.reduce((sum, each) => sum + each.loss, 0) / losses.length
  journal.write({ type: 'evaluation', step: coordinator.roster.committed, loss })
}
