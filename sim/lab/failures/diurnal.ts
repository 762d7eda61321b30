/** Process `diurnal`: the hazard follows the hour of the day, as it does for volunteers. */
import { z } from 'zod'
import { hazardOf } from './draws.ts'
import { failureProcess, named, percent, setting } from './process.ts'
import { eachOf, endsFit, lossesAt, PEERS_HAVE_NO_ENDS, targetFields } from './targets.ts'

const HOURS_PER_DAY = 24

export const diurnal = failureProcess({
  name: 'diurnal',
  schema: z
    .strictObject({
      ...named('diurnal'),
      rate: setting(
        z.number().min(0).lt(1),
        'share an hour',
        'Share that fails in an hour at the mean hazard of a day, as for `hourly`.',
      ),
      amplitude: setting(
        z.number().min(0).max(1),
        'share of the mean hazard',
        'Largest deviation of the hazard from its mean. With 1 the hazard is 0 twelve hours from the peak.',
      ),
      peakHour: setting(
        z.number().min(0).lt(HOURS_PER_DAY),
        'hour of the day',
        'Hour of the day with the highest hazard. A scenario begins at midnight.',
      ),
      ...targetFields,
    })
    .refine(endsFit, PEERS_HAVE_NO_ENDS)
    .meta({ description: 'As `hourly`, with a hazard that follows a cosine over the day.' }),
  draw: (failure, draw) => {
    const mean = hazardOf(failure.rate)
    const hazardAt = (hour: number) => {
      const angle = (2 * Math.PI * (hour - failure.peakHour)) / HOURS_PER_DAY
      return mean * (1 + failure.amplitude * Math.cos(angle))
    }
    const hazardMax = mean * (1 + failure.amplitude)
    return lossesAt(failure, draw, hazardMax, hazardAt)
  },
  describe: (failure) =>
    `${eachOf(failure)} fails with ${percent(failure.rate)} in an hour on average, and with a hazard ${percent(failure.amplitude)} higher at ${failure.peakHour} o'clock.`,
})
