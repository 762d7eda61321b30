/** Process `iteration`: each stage fails with a probability after each iteration, as the paper draws failures. */
import { z } from 'zod'
import { failureProcess, named, percent, setting } from './process.ts'
import { eachOf, stageFields, stagesOf, streamOf } from './targets.ts'

const SECONDS_PER_HOUR = 3600

/** Time from the end of an iteration to a failure, as a share of the iteration. */
const AFTER = 0.001

export const iteration = failureProcess({
  name: 'iteration',
  schema: z
    .strictObject({
      ...named('iteration'),
      probability: setting(
        z.number().min(0).max(1),
        'share an iteration',
        'Probability that a stage fails right after an iteration of undisturbed length. The failures of a lower probability are among those of a higher one.',
      ),
      ...stageFields,
    })
    .meta({
      description: 'After each iteration each stage fails with a probability, as in the paper.',
    }),
  draw: (failure, { place, random }) => {
    const length = place.iterationSeconds / SECONDS_PER_HOUR
    return stagesOf(failure, place).flatMap((target) => {
      const draws = streamOf(random, target)
      const losses: { hours: number; stage: number }[] = []
      for (let made = 1; made * length < place.hours; made++) {
        // The draw does not depend on the probability, so a lower one gives a subset of the failures.
        if (draws.float() < failure.probability) {
          losses.push({ hours: (made + AFTER) * length, ...target })
        }
      }
      return losses
    })
  },
  describe: (failure) =>
    `${eachOf({ of: 'stage', ...failure })} fails with ${percent(failure.probability)} after an iteration of undisturbed length.`,
})
