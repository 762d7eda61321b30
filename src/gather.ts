/** Gives a freshly built stage the state that a strategy makes from its donors. */
import { ProtocolError } from '../protocols/errors.ts'
import type { Network, PeerId } from '../protocols/network.ts'
import type { HoldAnswer, HoldQuestion } from '../protocols/step.ts'
import { fetchState, type StatePart } from '../protocols/weights.ts'
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

export interface Gathered extends Omit<HoldAnswer, 'seconds'> {
  readonly norm: number | null
  /** That the optimizer has made. */
  readonly updates: number
}

export async function gatherStage(options: GatherOptions): Promise<Gathered> {
  const { stage, question, settings } = options
  const strategy = STRATEGIES.get(question.strategy)
  if (strategy === undefined) {
    throw new ProtocolError('REFUSED', `this version knows no strategy '${question.strategy}'`)
  }
  const wanted = [...new Set(question.donors.map((donor) => donor.stage))]
  const sources = await Promise.all(
    wanted.map((each) => {
      const donors = question.donors.filter((donor) => donor.stage === each)
      const peers = donors.map(({ peer }) => peer)
      return fetchSource(options, each, peers, strategy.moments === true)
    }),
  )
  const rebuilt = strategy.rebuild(sources, stage.weights, settings)
  const { weights, norms, learningRateScale, optimizer, norm = null } = rebuilt
  if (weights !== stage.weights) await stage.load(weights, optimizer)
  const bytes = sources.reduce((sum, source) => sum + bytesOf(source), 0)
  const updates = optimizer?.updates ?? 0
  return { bytes, norms: [...norms], learningRateScale, norm, updates }
}

function bytesOf({ weights, optimizer }: Source): number {
  return weights.byteLength * (optimizer === null ? 1 : 3)
}

/** One stage's state, from all that hold it. */
async function fetchSource(
  { network, stage, question: { run, step }, signal }: GatherOptions,
  from: number,
  donors: readonly PeerId[],
  moments: boolean,
): Promise<Source> {
  const options = { chunkTimeoutMs: TIMEOUTS.chunkMs, signal }
  const fetchPart = async (part: StatePart) => {
    const into = new Float32Array(stage.weights.length)
    const question = { run, step, stage: from, part }
    const facts = await fetchState(network, donors, question, into, options)
    if (allFinite(into)) return { into, facts }
    throw new ProtocolError('NON_FINITE', `the ${part} of stage ${from} are not finite`)
  }
  const { into: weights, facts } = await fetchPart('weights')
  const { norm, updates, learningRateScale } = facts
  if (!moments) return { stage: from, weights, norm, learningRateScale, optimizer: null }
  const { into: firstMoment } = await fetchPart('firstMoment')
  const { into: secondMoment } = await fetchPart('secondMoment')
  const optimizer = { firstMoment, secondMoment, updates }
  return { stage: from, weights, norm, learningRateScale, optimizer }
}
