/** Data for stages that only cost time: tokens that say which microbatch they are. */
import type { BatchSource } from '../src/run/batch-source.ts'
import { costTokens } from './world/cost-stage.ts'

/** A microbatch has one row of two tokens. */
const TOKENS = 2

/** @param read hears of each microbatch of a step that is read */
export function costBatches(read?: (step: number, index: number) => void): BatchSource {
  const batch = (step: number, index: number) => {
    const tokens = costTokens(step, index, TOKENS)
    return { tokens, targets: tokens }
  }
  return {
    training: (step, index) => {
      read?.(step, index)
      return batch(step, index)
    },
    heldOut: (index) => batch(0, index),
  }
}
