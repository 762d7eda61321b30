/** What copies and checkpoints see of a stage: its live state, and the facts that belong to it. */
import type { HoldAnswer } from '../../protocols/step.ts'
import type { StateFacts } from '../../protocols/weights.ts'
import type { AnyStage } from '../../stages/stage.ts'

/** A stage that this peer holds. Its state changes with every update. */
export interface HeldStage {
  readonly index: number
  readonly stage: AnyStage
  readonly facts: StateFacts
}

/** How a freshly built stage got its state. */
export interface RestoredState extends Omit<HoldAnswer, 'seconds'> {
  /** Norm of the last committed mean gradient, before clipping; null if no step has been committed. */
  readonly norm: number | null
  /** Updates that the optimizer has made. */
  readonly updates: number
}
