/** The setting of a swarm in the mode `scale`. It is plain data, so that it can go to a worker. */
import { wireBytes } from '../../../protocols/codec.ts'
import { MEMBERS_MAX } from '../../../protocols/membership.ts'
import { InputError } from '../../../src/base/errors.ts'
import { type Run, stageConfig } from '../../../src/run/run.ts'
import { layoutOf } from '../../../stages/parameters.ts'
import type { StageMethod } from '../../world/stage.ts'
import type { Loss } from '../failures/loss.ts'

export interface ScaleLink {
  /** Latency one way. */
  readonly latencyMs: number
  /** Rate of the sender's uplink, or of the whole link if the link is shared. */
  readonly mbitPerSecond: number
}

export interface ScaleNetwork {
  /** Slot i is in `regions[i % regions.length]`. */
  readonly regions: readonly string[]
  readonly within: ScaleLink
  /** A link for any two regions. In a `shared` link all messages of both directions wait in one queue. */
  readonly between: readonly (ScaleLink & {
    readonly regions: readonly [string, string]
    readonly shared?: boolean | undefined
  })[]
}

interface ScaleSizes {
  /** Bytes of a microbatch's activation on the wire. */
  readonly activationBytes: number
  /** Weights of a body stage. Each weight has 4 bytes, and 8 bytes of moments. */
  readonly bodyElements: number
  readonly endsElements: number
}

export interface ScaleSetting {
  /** Names of the trial, which its result repeats. */
  readonly strategy: string
  readonly failures: string
  readonly seed: number
  /**
   * Stages, spares, microbatches, and the recovery with its policy and its upkeep. With an empty policy, which no manifest
   * may have, the run ends with the first lost stage. Steps are made until the hours are over.
   */
  readonly run: Run
  /** Number of peers in the swarm, with spares. */
  readonly peers: number
  /** Virtual hours, counted from when the swarm has formed and made its first six steps. */
  readonly hours: number
  readonly network: ScaleNetwork
  /** Link to the store of checkpoints. Each transfer has the whole link. */
  readonly store: ScaleLink
  /** Duration of each method at speed 1. `build` lasts from the assignment of a stage until its sessions are there. */
  readonly costMs: Readonly<Record<StageMethod | 'build', number>>
  /** The peer of slot i is `speeds[i % speeds.length]` times as fast as one of speed 1. */
  readonly speeds: readonly number[]
  readonly sizes: ScaleSizes
  /** Losses of peers, in any order. The loss of a slot whose peer is gone already has no effect. */
  readonly losses: readonly Loss[]
  /** Time from the loss of a peer until its replacement starts; null if there is no replacement. */
  readonly replacementSeconds: number | null
  /** Training loss of an undisturbed run after so many iterations. With it the result has a curve. */
  readonly undisturbed: readonly (readonly [iterations: number, loss: number])[] | null
}

/** The sizes of the run's own model. */
export function sizesOf(run: Run): ScaleSizes {
  const elements = (stage: number) => {
    const { parameters } = layoutOf(stageConfig(run), stage)
    return parameters.reduce((sum, { length }) => sum + length, 0)
  }
  const { batch, context } = run.microbatch
  return {
    activationBytes: wireBytes(run.wire, batch * context * run.model.hiddenSize),
    bodyElements: elements(1),
    endsElements: elements(0),
  }
}

/** @throws InputError that names the wrong field */
export function checkScale(setting: ScaleSetting): void {
  const { run, peers, hours, network, speeds, losses } = setting
  const needed = run.stages + 1
  if (peers < needed || peers > MEMBERS_MAX) {
    throw new InputError(
      `peers: ${peers}. ${run.stages} body stages and the ends need ${needed}, and a roster has ${MEMBERS_MAX} at most.`,
    )
  }
  if (!(hours > 0)) throw new InputError(`hours: ${hours}. Give how long the swarm is played.`)
  if (speeds.length === 0 || !speeds.every((speed) => speed > 0)) {
    throw new InputError(
      'speeds: give one or more, each above 0; 1 is the speed that costs are of.',
    )
  }
  const regions = [...new Set(network.regions)]
  if (regions.length === 0) throw new InputError('network.regions: name one or more.')
  for (const [i, from] of regions.entries()) {
    for (const to of regions.slice(i + 1)) {
      if (network.between.some(({ regions }) => regions.includes(from) && regions.includes(to))) {
        continue
      }
      throw new InputError(`network.between: there is no link between ${from} and ${to}; add one.`)
    }
  }
  for (const { latencyMs, mbitPerSecond } of [network.within, ...network.between, setting.store]) {
    if (latencyMs >= 0 && mbitPerSecond > 0) continue
    throw new InputError(
      `network: a link of ${latencyMs} ms and ${mbitPerSecond} Mbit/s; give no less than 0 ms and more than 0 Mbit/s.`,
    )
  }
  for (const loss of losses) {
    const isThere = 'slot' in loss ? loss.slot < peers : loss.stage <= run.stages
    if (isThere) continue
    throw new InputError(
      'slot' in loss
        ? `losses: slot ${loss.slot} of ${peers}, which are 0..${peers - 1}.`
        : `losses: stage ${loss.stage}; stages are 0..${run.stages}.`,
    )
  }
}
