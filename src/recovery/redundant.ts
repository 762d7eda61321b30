/**
 * Redundant computation (Bamboo, NSDI'23). The holder before each stage, its understudy, also has that stage's weights
 * and moments of the last committed step. A lost stage is restored exactly, and no progress is lost. The holder of the
 * ends is the understudy of stage 1, and the holder of the last stage is the understudy of the ends.
 *
 * In Bamboo an understudy also computes its successor's forward pass in idle time, so that it can take over within an
 * iteration. Here an understudy computes the update only, from the holder's gradient. A step starts over when a stage is
 * lost, so that a finished forward pass would save nothing. The lost stage goes to a spare, since a member holds one stage
 * at most.
 */
import { replica } from './replica.ts'
import type { Strategy } from './strategy.ts'

/** The row of redundant computation. */
export const redundant: Strategy = {
  name: 'redundant',
  understudies: true,
  moments: () => true,
  donors({ stage, copies, committed }) {
    const found = copies.filter((copy) => copy.strategy === 'redundant' && copy.stage === stage)
    const exact = found.filter(({ step }) => step === committed)
    if (exact.length > 0) return [{ stage, understudies: exact.map(({ peer }) => peer) }]
    if (found.length === 0)
      return { reason: `no remaining member is an understudy of stage ${stage}` }
    return { reason: `the understudy of stage ${stage} has missed step ${committed}` }
  },
  rebuild: replica.rebuild,
}
