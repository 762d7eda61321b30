/** The rates of the paper: a share of the stages, or of the peers, fails in an hour. */
import { z } from 'zod'
import { hazardOf } from './draws.ts'
import { failureProcess, named, percent, setting } from './process.ts'
import { eachOf, endsFit, lossesAt, PEERS_HAVE_NO_ENDS, targetFields } from './targets.ts'

export const hourly = failureProcess({
  name: 'hourly',
  schema: z
    .strictObject({
      ...named('hourly'),
      rate: setting(
        z.number().min(0).lt(1),
        'share an hour',
        'Of those that are there at the beginning of an hour, the share that fails until its end. What fails at a lower rate fails at a higher one, too, at the same time.',
      ),
      ...targetFields,
    })
    .refine(endsFit, PEERS_HAVE_NO_ENDS)
    .meta({ description: 'A share fails every hour, each independently and at any time.' }),
  draw: (failure, draw) => {
    const hazard = hazardOf(failure.rate)
    return lossesAt(failure, draw, hazard, () => hazard)
  },
  describe: (failure) =>
    `${eachOf(failure)} fails with ${percent(failure.rate)} in an hour, independently of the others.`,
})
