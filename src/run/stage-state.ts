/** The state of a stage, as copies and checkpoints read it. */
import type { HoldAnswer } from '../../protocols/step.ts'
import type { StateFacts } from '../../protocols/weights.ts'
import type { AnyStage } from '../../stages/stage.ts'

/** A stage that this peer holds. Weights, moments and facts change with every update. */
export interface HeldStage {
  readonly index: number
  readonly stage: AnyStage
  readonly facts: StateFacts
}

/** The state that a newly built stage starts with, and its source. */
export interface RestoredState extends Omit<HoldAnswer, 'seconds'> {
  /** L2 norm of the last committed mean gradient, before clipping; null if no step has been committed. */
  readonly norm: number | null
  /** Number of optimizer updates applied. */
  readonly updates: number
}
