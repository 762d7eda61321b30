/**
 * A stage that nobody has held since the swarm was started from a checkpoint: it has what was saved, moments and all.
 * The taker reads it from its own store (`src/holder/resume.ts`), so there is nothing to rebuild. Not a recovery, so not in any
 * policy.
 */
import { seed } from './seed.ts'
import type { Strategy } from './strategy.ts'

export const resume: Strategy = { ...seed, name: 'resume' }
