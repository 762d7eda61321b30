/**
 * The first holder of a stage in a swarm that was started from a checkpoint. The new holder reads weights and moments
 * from the store (`src/holder/resume.ts`), so that nothing is rebuilt. No policy names it.
 */
import { seed } from './seed.ts'
import type { Strategy } from './strategy.ts'

/** The row of a stage from the checkpoint that the run started from. */
export const resume: Strategy = { ...seed, name: 'resume' }
