/** Loads into a freshly built stage the state that a recovery strategy makes from its donors. */
import { fetchCopy } from '../../protocols/copies.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Network, PeerId } from '../../protocols/network.ts'
import type { HoldQuestion } from '../../protocols/step.ts'
import { fetchState, type StateFacts, type StatePart } from '../../protocols/weights.ts'
import { initializeWeights } from '../../stages/parameters.ts'
import { Random } from '../../stages/random.ts'
import type { AnyStage } from '../../stages/stage.ts'
import { allFinite } from '../base/finite.ts'
import { TIMEOUTS } from '../base/limits.ts'
import { reconstruct } from '../copies/erasure.ts'
import { copyBytes, decodeState, joinCopy } from '../recovery/copy-form.ts'
import { STRATEGIES } from '../recovery/index.ts'
import type { CopyRule, KeptCopy, Source, Strategy } from '../recovery/strategy.ts'
import type { Run } from '../run/run.ts'
import type { RestoredState } from '../run/stage-state.ts'

export interface GatherOptions {
  readonly network: Network
  readonly stage: AnyStage
  readonly question: HoldQuestion
  readonly run: Run
  readonly signal: AbortSignal
}

/** @throws ProtocolError REFUSED for an unknown strategy, NON_FINITE; and what fetching from the last donor throws */
export async function gatherStage(options: GatherOptions): Promise<RestoredState> {
  const { stage, question, run } = options
  const settings = run.recovery
  const strategy = STRATEGIES.get(question.strategy)
  if (strategy === undefined) {
    throw new ProtocolError('REFUSED', `this version knows no strategy '${question.strategy}'`)
  }
  const byStage = Map.groupBy(question.donors, (donor) => donor.stage)
  const moments = strategy.moments?.(settings) ?? false
  const sources = await Promise.all(
    [...byStage].map(([from, donors]) => {
      const copies = donors.flatMap(({ peer, copy }) => (copy === null ? [] : { ...copy, peer }))
      if (copies.length > 0) return restoreSource(options, strategy, copies)
      const peers = donors.map(({ peer }) => peer)
      return fetchSource(options, from, peers, moments)
    }),
  )
  const rebuilt = strategy.rebuild(
    sources.map(({ source }) => source),
    { weights: stage.weights, redraw: () => redrawWeights(stage, question, run) },
    settings,
  )
  const { weights, norms, learningRateScale, optimizer, norm = null } = rebuilt
  if (weights !== stage.weights) await stage.load(weights, optimizer)
  const bytes = sources.reduce((sum, source) => sum + source.bytes, 0)
  const ofStep = Math.min(question.step, ...sources.map((source) => source.ofStep))
  const updates = optimizer?.updates ?? 0
  return { bytes, norms: [...norms], learningRateScale, ofStep, norm, updates }
}

/** Random weights, a function of seed, stage and step: every peer that rebuilds the stage draws the same. */
function redrawWeights(stage: AnyStage, { step }: HoldQuestion, { seed }: Run): Float32Array {
  const weights = new Float32Array(stage.weights.length)
  initializeWeights(weights, stage, new Random(seed).stream(`redraw ${step}`))
  return weights
}

/** The state of one stage that was fetched. */
interface Fetched {
  readonly source: Source
  readonly bytes: number
  /** The committed step after which the state was. */
  readonly ofStep: number
}

/** Fetches the present state of a stage from its holders, from all at once. */
async function fetchSource(
  { network, stage, question: { run, step }, signal }: GatherOptions,
  from: number,
  donors: readonly PeerId[],
  moments: boolean,
): Promise<Fetched> {
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
  const source = { stage: from, weights, norm, learningRateScale, isCopy: false }
  const bytes = weights.byteLength
  if (!moments) return { source: { ...source, optimizer: null }, bytes, ofStep: step }
  const { into: firstMoment } = await fetchPart('firstMoment')
  const { into: secondMoment } = await fetchPart('secondMoment')
  const optimizer = { firstMoment, secondMoment, updates }
  return { source: { ...source, optimizer }, bytes: 3 * bytes, ofStep: step }
}

/**
 * Restores the state of a stage from the latest copy of which all needed shards can be fetched.
 * @throws ProtocolError NON_FINITE, or the failure of the last keeper
 */
async function restoreSource(
  options: GatherOptions,
  strategy: Strategy,
  copies: readonly KeptCopy[],
): Promise<Fetched> {
  let failure: unknown
  for (const ofStep of Map.groupBy(copies, ({ step }) => step).values()) {
    try {
      return await restoreCopy(options, strategy, ofStep)
    } catch (error) {
      options.signal.throwIfAborted()
      failure = error
    }
  }
  throw failure
}

/** @param copies of one step */
async function restoreCopy(
  options: GatherOptions,
  strategy: Strategy,
  copies: readonly KeptCopy[],
): Promise<Fetched> {
  const { stage, run } = options
  const { form, shards } = strategy.copies!(run.recovery, run.stages)
  const { weights, moments } = stage
  const lengths = [weights, moments.firstMoment, moments.secondMoment].map(({ length }) => length)
  const size = copyBytes(lengths, form)
  const { found, facts, bytes } = await fetchShards(options, shards, size, copies)
  const pieces = shards.parity === 0 ? (found as Uint8Array[]) : reconstruct(found, shards.data)
  const parts = decodeState(joinCopy(pieces, size), lengths, form)
  const { stage: from, step: ofStep } = copies[0]!
  if (!parts.every(allFinite)) {
    throw new ProtocolError('NON_FINITE', `the copy of stage ${from} is not finite`)
  }
  const [restored, firstMoment, secondMoment] = parts
  const { norm, updates, learningRateScale } = facts
  const optimizer = form.moments === null ? null : { firstMoment, secondMoment, updates }
  const known = { stage: from, norm, learningRateScale, isCopy: true }
  return { source: { ...known, weights: restored, optimizer }, bytes, ofStep }
}

/** Fetches as many shards as are needed, one after another: a further one only if one fails. */
async function fetchShards(
  { network, question, signal }: GatherOptions,
  { data, parity }: CopyRule['shards'],
  size: number,
  copies: readonly KeptCopy[],
) {
  const shardBytes = Math.ceil(size / data)
  const found: (Uint8Array | null)[] = Array(data + parity).fill(null)
  let facts: StateFacts | undefined
  let failure: unknown
  let fetched = 0
  let bytes = 0
  for (const [shard, same] of Map.groupBy(copies, (copy) => copy.shard)) {
    if (fetched === data) break
    const into = new Uint8Array(shardBytes)
    const { peer: _, ...name } = same[0]!
    // What comes from this peer's own disk or memory is not sent.
    const others = same.map(({ peer }) => peer).filter((peer) => peer !== network.self)
    const isHere = others.length < same.length
    const keepers = isHere ? [network.self, ...others] : others
    const options = { chunkTimeoutMs: TIMEOUTS.chunkMs, signal }
    try {
      facts = await fetchCopy(network, keepers, { run: question.run, ...name }, into, options)
      found[shard] = into
      fetched++
      if (!isHere) bytes += shardBytes
    } catch (error) {
      signal.throwIfAborted()
      failure = error
    }
  }
  if (facts === undefined || fetched < data) throw failure
  return { found, facts, bytes }
}
