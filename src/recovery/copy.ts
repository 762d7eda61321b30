/** The lost stage becomes a copy of one live neighbour. It is an ablation of CheckFree, and works at the edges, too. */
import type { Strategy } from './strategy.ts'

/** The row of the neighbour's copy. */
export const copy: Strategy = {
  name: 'copy',
  donors({ stage, bodyStages, live }) {
    if (stage === 0) return { reason: 'the ends have no neighbour of their shape' }
    const donor = [stage - 1, stage + 1].find(
      (neighbour) => neighbour >= 1 && neighbour <= bodyStages && live.has(neighbour),
    )
    return donor === undefined
      ? { reason: 'no body stage next to it is alive' }
      : [{ stage: donor }]
  },
  rebuild: ([source], _, { learningRateScale }) => ({
    weights: source!.weights,
    norms: [source!.norm ?? 1],
    learningRateScale,
  }),
}
