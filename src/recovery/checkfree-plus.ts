/**
 * CheckFree+ (arXiv 2506.15461, section 4.3): half of the microbatches visit the first two and the last two body stages
 * the other way round, so that stages 2 and S-1 learn what 1 and S do: a lost first or last body stage is a copy of its
 * twin. The weights of the ends go to the holders of stages 1 and S after every step, and come back as they were. What
 * lies between is averaged as CheckFree does.
 */
import { holdersOf } from '../membership/roster.ts'
import { average, neighbours } from './checkfree.ts'
import { latestCopies, restore } from './copies.ts'
import type { Loss, Strategy } from './strategy.ts'

/** Fewer have no two pairs to swap. */
const BODY_STAGES_MIN = 4

/** The stage that does what this one does for half of the microbatches; null in the middle. */
function twinOf({ stage, bodyStages }: Pick<Loss, 'stage' | 'bodyStages'>): number | null {
  if (stage === 1) return 2
  return stage === bodyStages ? bodyStages - 1 : null
}

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
    form: { weights: 'float32', moments: null },
    shards: { data: 1, parity: 0 },
    keepers: (roster) =>
      [1, bodyStages].flatMap((neighbour) => holdersOf(roster, neighbour).slice(0, 1)),
  }),
  moments: ({ moments }) => moments === 'averaged',
  donors(loss) {
    if (loss.stage === 0) return latestCopies('checkfree+', loss)
    const twin = twinOf(loss)
    if (twin === null) return neighbours(loss)
    return loss.live.has(twin)
      ? [{ stage: twin }]
      : { reason: `its twin, stage ${twin}, is lost too` }
  },
  rebuild(sources, _, { normExponent, learningRateScale }) {
    // Of copies only the ends are restored: theirs are the weights that were lost, so nothing is to be caught up.
    const [only] = sources
    if (only!.isCopy) return restore(only!)
    return average(sources, normExponent, learningRateScale)
  },
}
