/**
 * Redundant computation (Bamboo, NSDI'23): the holder before each stage has that stage's weights and moments, too, always
 * as they are after the last committed step. A lost stage comes back exactly, with no progress lost. Of stage 1 that is
 * the holder of the ends, and of the ends the holder of the last stage.
 *
 * Bamboo's predecessor also computes its successor's forward pass in idle time, so that it can take over in the middle of
 * an iteration, by itself, until a new node comes. Here it computes nothing but the update, from the gradient that the
 * holder has made: our step starts over when a stage is lost, so that a forward pass in hand would save nothing, and a
 * stage that is lost goes to a spare, since a member holds one stage at most.
 */
import { replica } from './replica.ts'
import type { Strategy } from './strategy.ts'

export const redundant: Strategy = {
  name: 'redundant',
  understudies: true,
  moments: () => true,
  donors({ stage, copies, committed }) {
    const found = copies.filter((copy) => copy.strategy === 'redundant' && copy.stage === stage)
    const exact = found.filter(({ step }) => step === committed)
    if (exact.length > 0) return [{ stage, understudies: exact.map(({ peer }) => peer) }]
    if (found.length === 0)
      return { reason: `nobody that is left is an understudy of stage ${stage}` }
    return { reason: `the understudy of stage ${stage} has missed step ${committed}` }
  },
  rebuild: replica.rebuild,
}
