/** What every way to bring a stage back has in common. A strategy is a row of the table in `index.ts`. */
import type { OptimizerState } from '../../stages/stage.ts'

/** A stage that needs a holder. */
export interface Loss {
  readonly stage: number
  readonly bodyStages: number
  /** Stages whose holders are alive and hold their own trained weights. */
  readonly live: ReadonlySet<number>
  /** Why the swarm cannot go back to a checkpoint; null if it can, as far as is known. */
  readonly noCheckpoint: string | null
}

/** What a donor gives. */
export interface Source {
  readonly stage: number
  /** Flat weights in the common layout of body stages. */
  readonly weights: Float32Array
  /** Its last gradient norm before clipping; null before its first update. */
  readonly norm: number | null
  readonly learningRateScale: number
  /** If the strategy asks for it. */
  readonly optimizer: OptimizerState | null
}

export interface RecoverySettings {
  /** Exponent of the gradient norm in CheckFree's weights: 0 uniform, 1 the norm, 2 its square. */
  readonly normExponent: number
  readonly learningRateScale: number
}

interface Rebuilt {
  readonly weights: Float32Array
  /** The norms as they weighed in, in the order of the sources. */
  readonly norms: readonly number[]
  /** Multiplies the stage's learning rate from now on. */
  readonly learningRateScale: number
  /** Left out, the optimizer starts afresh. */
  readonly optimizer?: OptimizerState
  /** Left out, the stage has no gradient norm until its first update. */
  readonly norm?: number | null
}

export interface Strategy {
  readonly name: string
  /** True if it needs the donors' optimizer state beside their weights. */
  readonly moments?: true
  /** The stages it needs weights of, or the reason why it cannot work here. */
  donors(loss: Loss): readonly number[] | { readonly reason: string }
  /** @param initial the stage's weights as the run's seed makes them */
  rebuild(sources: readonly Source[], initial: Float32Array, settings: RecoverySettings): Rebuilt
}
