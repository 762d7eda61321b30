/** Gives a freshly built stage the weights that a strategy makes from its donors. */

import { ProtocolError } from '../protocols/errors.ts'
import type { Network } from '../protocols/network.ts'
import type { HoldAnswer, HoldQuestion } from '../protocols/step.ts'
import { fetchWeights } from '../protocols/weights.ts'
import type { AnyStage } from '../stages/stage.ts'
import { allFinite } from './finite.ts'
import { TIMEOUTS } from './limits.ts'
import { STRATEGIES } from './recovery/index.ts'
import type { RecoverySettings, Source } from './recovery/strategy.ts'

export interface GatherOptions {
  readonly network: Network
  readonly stage: AnyStage
  readonly question: HoldQuestion
  readonly settings: RecoverySettings
  readonly signal: AbortSignal
}

export async function gatherStage({
  network,
  stage,
  question,
  settings,
  signal,
}: GatherOptions): Promise<Omit<HoldAnswer, 'seconds'>> {
  const strategy = STRATEGIES.get(question.strategy)
  if (strategy === undefined) {
    throw new ProtocolError('REFUSED', `this version knows no strategy '${question.strategy}'`)
  }
  let bytes = 0
  const sources = await Promise.all(
    question.donors.map(async (donor): Promise<Source> => {
      const { run, epoch, step } = question
      const into = new Float32Array(stage.weights.length)
      const fetched = await fetchWeights(
        network,
        donor.peer,
        { run, epoch, step, stage: donor.stage },
        into,
        { chunkTimeoutMs: TIMEOUTS.chunkMs, signal },
      )
      if (!allFinite(into)) {
        throw new ProtocolError('NON_FINITE', `the weights of stage ${donor.stage} are not finite`)
      }
      bytes += fetched.bytes
      return { stage: donor.stage, weights: into, norm: fetched.norm }
    }),
  )
  const { weights, norms, learningRateScale } = strategy.rebuild(sources, stage.weights, settings)
  if (weights !== stage.weights) await stage.load(weights)
  return { bytes, norms: [...norms], learningRateScale }
}
