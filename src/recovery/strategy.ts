/** What every way to bring a stage back has in common. A strategy is a row of the table in `index.ts`. */
import type { CopyName } from '../../protocols/copies.ts'
import type { Member, Roster } from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'
import type { OptimizerState } from '../../stages/stage.ts'
import type { CopyForm } from './copy-form.ts'
import type { RecoverySettings } from './settings.ts'

/** A copy of a stage's state, or a shard of one, and who keeps it. */
export interface KeptCopy extends CopyName {
  readonly peer: PeerId
}

/** A stage that needs a holder. */
export interface Loss {
  readonly stage: number
  readonly bodyStages: number
  /** Stages whose holders are alive and hold their own trained weights. */
  readonly live: ReadonlySet<number>
  /** Why the swarm cannot go back to a checkpoint; null if it can, as far as is known. */
  readonly noCheckpoint: string | null
  /** What live members keep of any stage. */
  readonly copies: readonly KeptCopy[]
  /** The last step that is decided. */
  readonly committed: number
}

/** A stage that a strategy needs the state of: from its live holders, from others that have it, or from copies of it. */
export interface Origin {
  readonly stage: number
  /** All of one step. */
  readonly copies?: readonly KeptCopy[]
  /** Who has the state as it is now, if not its holders. */
  readonly understudies?: readonly PeerId[]
}

/** What a donor gives. */
export interface Source {
  readonly stage: number
  /** Flat weights in the common layout of body stages. */
  readonly weights: Float32Array
  /** Its last gradient norm before clipping; null before its first update. */
  readonly norm: number | null
  readonly learningRateScale: number
  /** If the strategy asks for it, or the copy has it. */
  readonly optimizer: OptimizerState | null
  /** From a copy that somebody kept, not from a holder. */
  readonly isCopy: boolean
}

/** The weights of a stage that has learnt nothing. */
interface Initial {
  /** As the run's seed, or what the run was imported from, makes them. */
  readonly weights: Float32Array
  /** Others, as a seed draws them; also where the run was imported. */
  anew(): Float32Array
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

/** Copies that holders have others keep while nothing fails: a strategy's upkeep. */
export interface CopyRule {
  /** Whether copies are kept of this stage. */
  readonly applies: (stage: number) => boolean
  /** Stages take turns: this one after every step for which (step + stage) is a multiple of it. */
  readonly everySteps: (stage: number) => number
  readonly form: CopyForm
  /** Any `data` of `data + parity` shards give the copy back; 1 and 0 for copies that are whole. */
  readonly shards: { readonly data: number; readonly parity: number }
  /** Who keeps shard 0, 1, ..; each keeps all if the copies are whole. None if there is nobody. */
  keepers(roster: Roster, stage: number): readonly Member[]
}

export interface Strategy {
  readonly name: string
  /** `swapped`: half of the microbatches visit the first two and the last two body stages the other way round. */
  readonly order?: 'swapped'
  /** True if the holder before each stage keeps that stage's state, too, and every update of it. */
  readonly understudies?: boolean
  /** True if it needs the donors' optimizer state beside their weights. */
  moments?(settings: RecoverySettings): boolean
  copies?(settings: RecoverySettings, bodyStages: number): CopyRule
  /** Why it cannot work in a run with so many body stages; null if it can. */
  refusal?(settings: RecoverySettings, bodyStages: number): string | null
  /** What it needs the state of, or the reason why it cannot work here. */
  donors(loss: Loss, settings: RecoverySettings): readonly Origin[] | { readonly reason: string }
  rebuild(sources: readonly Source[], initial: Initial, settings: RecoverySettings): Rebuilt
}
