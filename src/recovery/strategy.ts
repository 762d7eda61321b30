/** The interface of a recovery strategy. Each strategy is a row of the table in `index.ts`. */
import type { CopyName } from '../../protocols/copies.ts'
import type { Member, Roster } from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'
import type { OptimizerState } from '../../stages/stage.ts'
import type { CopyForm } from './copy-form.ts'
import type { RecoverySettings } from './settings.ts'

/** A copy of a stage's state, or a shard of a copy, and the member that keeps it. */
export interface KeptCopy extends CopyName {
  readonly peer: PeerId
}

/** A stage that needs a holder. */
export interface Loss {
  readonly stage: number
  readonly bodyStages: number
  /** Stages that have a live holder with trained weights. */
  readonly live: ReadonlySet<number>
  /** Reason why the swarm cannot go back to a checkpoint; null if no such reason is known. */
  readonly noCheckpoint: string | null
  /** Copies of any stage that live members keep. */
  readonly copies: readonly KeptCopy[]
  /** Last committed step. */
  readonly committed: number
  /** True if no strategy works with recent copies, so that older ones are used. */
  readonly isLastResort: boolean
}

/** A stage whose state a strategy needs. It comes from its live holders, from understudies, or from copies. */
export interface Origin {
  readonly stage: number
  /** Copies, those of the latest step first; those of an earlier step are for the case that the later ones are lost. */
  readonly copies?: readonly KeptCopy[]
  /** Understudies that have the state of the last committed step. If left out, the state does not come from them. */
  readonly understudies?: readonly PeerId[]
}

/** The state of a stage that donors have sent. */
export interface Source {
  readonly stage: number
  /** Flat weights in the common layout of body stages. */
  readonly weights: Float32Array
  /** Last gradient norm before clipping; null before the first update. */
  readonly norm: number | null
  readonly learningRateScale: number
  /** Optimizer state; null if the strategy does not need it, or the copy does not contain it. */
  readonly optimizer: OptimizerState | null
  /** True if the state comes from a copy, not from a holder. */
  readonly isCopy: boolean
}

/** The weights of an untrained stage. */
interface Initial {
  /** The run's initial weights, from its seed or from the checkpoint that it was imported from. */
  readonly weights: Float32Array
  /** Draws other random weights, also in a run that was imported. */
  redraw(): Float32Array
}

/** The state of a rebuilt stage. */
interface Rebuilt {
  readonly weights: Float32Array
  /** Gradient norms by which the sources were averaged, in the order of the sources. */
  readonly norms: readonly number[]
  /** Factor of the stage's learning rate from now on. */
  readonly learningRateScale: number
  /** If left out, the optimizer starts with moments of zero. */
  readonly optimizer?: OptimizerState
  /** If left out, the stage has no gradient norm until its first update. */
  readonly norm?: number | null
}

/** The rule by which holders send copies of their stages to other members while training goes well. */
export interface CopyRule {
  /** Tells whether this stage is copied. */
  readonly applies: (stage: number) => boolean
  /** Interval between two copies. A stage is copied after each step for which (step + stage) is a multiple of it. */
  readonly everySteps: (stage: number) => number
  /**
   * Age in committed steps up to which a copy counts as recent. An older one is used only where no strategy of the policy
   * works without it.
   */
  readonly maxAge: (stage: number) => number
  readonly form: CopyForm
  /** Any `data` of the `data + parity` shards restore the copy. Copies that are not split have 1 and 0. */
  readonly shards: { readonly data: number; readonly parity: number }
  /** True if a copy that is due goes to one keeper only: the one whose copy is the oldest. Not for copies that are split. */
  readonly inTurn: boolean
  /** Members that keep shard 0, 1, ... If copies are not split, each of them keeps a whole copy. */
  keepers(roster: Roster, stage: number): readonly Member[]
}

/** A recovery strategy. Optional members are for the strategies that need them. */
export interface Strategy {
  readonly name: string
  /** `swapped`: half of the microbatches visit the first two and the last two body stages in swapped order. */
  readonly order?: 'swapped'
  /** True if the holder before each stage also keeps that stage's state and applies every update to it. */
  readonly understudies?: boolean
  /** Tells whether the strategy needs the donors' optimizer state beside their weights. */
  moments?(settings: RecoverySettings): boolean
  /** Rule for the copies that the strategy needs. */
  copies?(settings: RecoverySettings, bodyStages: number): CopyRule
  /** Reason why the strategy cannot be used with this number of body stages; null if it can. */
  refusal?(settings: RecoverySettings, bodyStages: number): string | null
  /** Stages whose state the strategy needs, or the reason why it cannot restore this loss. */
  donors(loss: Loss, settings: RecoverySettings): readonly Origin[] | { readonly reason: string }
  /** Makes the state of the lost stage from the sources, which stand in the order of the donors. */
  rebuild(sources: readonly Source[], initial: Initial, settings: RecoverySettings): Rebuilt
}
