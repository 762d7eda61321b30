/**
 * The step loop, as the coordinator runs it. Read this first.
 *
 * A step is synchronous: M microbatches go forward through the body stages and back, each stage adds each of them to
 * its gradient sum once; when every stage has all M, everyone applies its update. When a peer is lost, the step starts
 * over with empty sums; when its stage is lost with it, the stage is rebuilt first (CheckFree, arXiv 2506.15461).
 */
import type { Clock } from '../protocols/clock.ts'
import { ProtocolError } from '../protocols/errors.ts'
import { evaluate, prepare } from '../protocols/step.ts'
import type { Journal } from './journal.ts'
import { STEP_ATTEMPTS, TIMEOUTS } from './limits.ts'
import type { Run } from './run.ts'
import { learningRateAt } from './schedule.ts'
import type { Swarm } from './swarm.ts'

export interface TrainOptions {
  readonly run: Run
  readonly clock: Clock
  readonly journal: Journal
  /** Where this run ends: its manifest's number of steps, or an earlier one. */
  readonly lastStep: number
}

/** Trains until the last step. @throws ProtocolError when the run cannot go on */
export async function train(swarm: Swarm, options: TrainOptions): Promise<void> {
  const { run, journal, lastStep } = options
  let evaluated = 0
  let failures = 0
  for (;;) {
    await swarm.settle()
    const { epoch, step } = swarm.fence
    const { committed } = swarm.roster
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
      swarm.abandon()
      journal.write({ type: 'aborted', step, epoch, code: error.code, reason: error.message })
      // A lost peer is what we are here for, however often; anything else that keeps coming back is not.
      if (error.code !== 'PEER_LOST') failures++
      if (failures >= STEP_ATTEMPTS) {
        const reason = `step ${step} failed ${failures} times, the last time because ${error.message}`
        throw new ProtocolError(error.code, reason)
      }
    }
  }
}

async function makeStep(swarm: Swarm, { run, clock, journal }: TrainOptions): Promise<void> {
  const begun = clock.now()
  const { fence } = swarm

  // Forward and backward: every stage then holds the sum of M microbatches' gradients, and knows its norm.
  const routes = swarm.routes(run.microbatches)
  const prepared = await swarm.askAll(prepare, { ...fence, routes }, TIMEOUTS.stepMs)
  for (const [stage, { counted }] of prepared.entries()) {
    if (counted === run.microbatches) continue
    throw new ProtocolError('INTERNAL', `stage ${stage} counted ${counted} microbatches`)
  }
  const loss = mean(prepared[0]!.losses!)

  // All are prepared, so the step is decided: who cannot apply it any more is lost, the step is not.
  const learningRate = learningRateAt(run.optimizer, fence.step, run.steps)
  await swarm.commit({ ...fence, learningRate, loss })

  const { batch, context } = run.microbatch
  journal.write({
    type: 'step',
    step: fence.step,
    epoch: fence.epoch,
    loss,
    learningRate,
    tokens: run.microbatches * batch * context,
    seconds: (clock.now() - begun) / 1000,
    counted: prepared.map(({ counted }) => counted),
    norms: prepared.map(({ norm }) => norm),
    busySeconds: prepared.map(({ busySeconds }) => busySeconds),
    peers: swarm.roster.members.length,
  })
}

/** The loss on held-out text, with the weights as committed. */
async function measure(swarm: Swarm, { run, journal }: TrainOptions): Promise<void> {
  const question = { ...swarm.fence, routes: swarm.routes(run.evaluation.microbatches) }
  const [ends] = await swarm.askAll(evaluate, question, TIMEOUTS.evaluateMs)
  journal.write({ type: 'evaluation', step: swarm.roster.committed, loss: ends!.loss! })
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}
