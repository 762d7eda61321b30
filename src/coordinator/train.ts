/**
 * The step loop, as the coordinator runs it. Read this first.
 *
 * A step is synchronous: M microbatches go forward through the body stages and back, each stage adds each of them to
 * its gradient sum once; when every stage has all M, a quorum of the members agrees that the step is made, and everyone
 * applies its update. A holder that is lost in the middle costs nothing but what it had a part in (step.ts), as long as
 * its stage has another; when a stage is lost, it is rebuilt (CheckFree, arXiv 2506.15461) and the step starts over.
 */
import type { Clock } from '../../protocols/clock.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import { evaluate } from '../../protocols/step.ts'
import { wholeNorm } from '../../stages/clip.ts'
import type { Journal } from '../base/journal.ts'
import { STEP_ATTEMPTS, TIMEOUTS } from '../base/limits.ts'
import type { Run } from '../run/run.ts'
import { learningRateAt } from '../run/schedule.ts'
import type { Coordinator } from './coordinator.ts'
import { normalOrder, planJourneys, visits } from './journeys.ts'
import { Step } from './step.ts'

export interface TrainOptions {
  readonly run: Run
  readonly clock: Clock
  readonly journal: Journal
  /** Where this run ends: its manifest's number of steps, or an earlier one. */
  readonly lastStep: number
}

/** Trains until the last step. @throws ProtocolError when the run cannot go on */
export async function train(swarm: Coordinator, options: TrainOptions): Promise<void> {
  const { run, clock, journal, lastStep } = options
  let evaluated = 0
  let failures = 0
  for (;;) {
    await swarm.settle()
    const { epoch, step } = swarm.fence
    const { committed } = swarm.roster
    // A step that is made again is measured again.
    evaluated = Math.min(evaluated, committed)
    const due = committed % run.evaluation.everySteps === 0 || committed === lastStep
    try {
      if (committed > evaluated && due) {
        await measure(swarm, options)
        evaluated = committed
      } else if (committed < lastStep) {
        await makeStep(swarm, options)
      } else {
        return
      }
      failures = 0
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error
      swarm.signal.throwIfAborted()
      swarm.abandon()
      journal.write({ type: 'aborted', step, epoch, code: error.code, reason: error.message })
      // Peers and links that fail are what we are here for, however often; anything else that keeps coming back is not.
      if (isOfThePath(error)) {
        await clock.sleep(TIMEOUTS.retryMs, swarm.signal)
        continue
      }
      failures++
      if (failures >= STEP_ATTEMPTS) {
        const reason = `step ${step} failed ${failures} times, the last time because ${error.message}`
        throw new ProtocolError(error.code, reason)
      }
    }
  }
}

async function makeStep(swarm: Coordinator, options: TrainOptions): Promise<void> {
  const { run, clock, journal } = options
  const begun = clock.now()
  const { fence } = swarm

  // Forward and backward: every holder then has its stage's gradient, summed over M microbatches and all replicas.
  const { loss, version, ...gradients } = await new Step(swarm, options).gradients()

  // All are prepared. With a quorum the step is decided: who cannot apply it any more is lost, the step is not.
  const learningRate = learningRateAt(run.optimizer, fence.step, run.steps)
  const norm = wholeNorm(gradients.norms)
  await swarm.commit({ step: fence.step, learningRate, norm, loss, version })

  swarm.stepMs = clock.now() - begun

  const { batch, context } = run.microbatch
  journal.write({
    type: 'step',
    step: fence.step,
    epoch: fence.epoch,
    loss,
    learningRate,
    tokens: run.microbatches * batch * context,
    seconds: swarm.stepMs / 1000,
    ...gradients,
    peers: swarm.roster.members.length,
  })
}

/** The loss on held-out text, with the weights as committed. */
async function measure(swarm: Coordinator, { run, journal }: TrainOptions): Promise<void> {
  const { microbatches } = run.evaluation
  const failed = Promise.withResolvers<never>()
  failed.promise.catch(() => {})
  swarm.beginRound((from, { code, reason }) => {
    failed.reject(new ProtocolError(code as ProtocolError['code'], `${from}: ${reason}`))
  })
  const orders = Array.from({ length: microbatches }, () => normalOrder(run.stages))
  const journeys = planJourneys(swarm.roster, orders, (id) => swarm.speeds.of(id))
  const answers = swarm.holders.map(async (member) => {
    const { id, stage, peer } = member
    const drives = journeys.filter(({ driver }) => stage === 0 && driver === id)
    const visiting = journeys.filter((journey) => visits(journey, member))
    const expected = visiting.map(({ index }) => index)
    const question = { ...swarm.fence, expected, drives }
    return swarm.ask(peer, evaluate, question, TIMEOUTS.evaluateMs)
  })
  const answered = await Promise.race([Promise.all(answers), failed.promise])
  const losses = answered.flatMap((answer) => answer.losses)
  const loss = losses.reduce((sum, each) => sum + each.loss, 0) / losses.length
  journal.write({ type: 'evaluation', step: swarm.roster.committed, loss })
}

/** A peer or a link failed, not the work. */
function isOfThePath({ code }: ProtocolError): boolean {
  return ['PEER_LOST', 'UNREACHABLE', 'TIMEOUT', 'CORRUPT', 'STALE', 'NOT_MEMBER', 'BUSY'].includes(
    code,
  )
}
