/**
 * CheckFree+ (arXiv 2506.15461, section 4.3). Half of the microbatches visit the first two and the last two body stages
 * in swapped order. Stages 2 and S-1 thereby learn the functions of stages 1 and S, and are called their twins. A lost
 * first or last body stage becomes a copy of its twin. The holders of stages 1 and S keep a copy of the ends' weights
 * after every step, and a lost stage 0 is restored from it. Every other stage is averaged as in CheckFree.
 */
import { holdersOf } from '../membership/roster.ts'
import { average, neighbours } from './checkfree.ts'
import { latestCopies, restore } from './copies.ts'
import type { Loss, Strategy } from './strategy.ts'

/** Smallest number of body stages that has two pairs to swap. */
const BODY_STAGES_MIN = 4

/** Stage that takes the place of `stage` for half of the microbatches; null for a stage in the middle. */
function twinOf({ stage, bodyStages }: Pick<Loss, 'stage' | 'bodyStages'>): number | null {
  if (stage === 1) return 2
  return stage === bodyStages ? bodyStages - 1 : null
}

/** The row of CheckFree+. */
export const checkfreePlus: Strategy = {
  name: 'checkfree+',
  order: 'swapped',
  refusal: (_, bodyStages) =>
    bodyStages >= BODY_STAGES_MIN
      ? null
      : `it swaps the first two and the last two body stages: ${BODY_STAGES_MIN} or more are needed, not ${bodyStages}`,
  copies: (_, bodyStages) => ({
    applies: (stage) => stage === 0,
    everySteps: () => 1,
    maxAge: () => 2,
    form: { weights: 'float32', moments: null },
    shards: { data: 1, parity: 0 },
    inTurn: false,
    keepers: (roster) =>
      [1, bodyStages].flatMap((neighbour) => holdersOf(roster, neighbour).slice(0, 1)),
  }),
  moments: ({ moments }) => moments === 'averaged',
  donors(loss, settings) {
    if (loss.stage === 0) return latestCopies(this, loss, settings)
    const twin = twinOf(loss)
    if (twin === null) return neighbours(loss)
    return loss.live.has(twin)
      ? [{ stage: twin }]
      : { reason: `its twin, stage ${twin}, is lost too` }
  },
  rebuild(sources, _, { normExponent, learningRateScale }) {
    // Only the ends have copies. A copy is exact, so that it needs no higher learning rate.
    const [only] = sources
    if (only!.isCopy) return restore(only!)
    return average(sources, normExponent, learningRateScale)
  },
}
