/** Data for stages that only cost time. The tokens of a microbatch identify its step and its index. */
import type { BatchSource } from '../src/run/batch-source.ts'
import { costTokens } from './world/cost-stage.ts'

/** Number of tokens of a microbatch, in one row. */
const TOKENS = 2

/**
 * @param read is called for each microbatch of a step that is read
 * @param wait resolves when the tokens are there; left out, they are there at once
 */
export function costBatches(
  read?: (step: number, index: number) => void,
  wait?: () => Promise<void>,
): BatchSource {
  const batch = (step: number, index: number) => {
    const tokens = costTokens(step, index, TOKENS)
    return { tokens, targets: tokens }
  }
  return {
    training: (step, index) => {
      read?.(step, index)
      return wait === undefined ? batch(step, index) : wait().then(() => batch(step, index))
    },
    heldOut: (index) => batch(0, index),
  }
}
