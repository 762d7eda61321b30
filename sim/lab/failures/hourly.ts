/** Process `hourly`: a share of the stages or peers fails in an hour, as in the paper's rates. */
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
        'Share of those present at the beginning of an hour that fails in the hour. The failures of a lower rate are among those of a higher rate.',
      ),
      ...targetFields,
    })
    .refine(endsFit, PEERS_HAVE_NO_ENDS)
    .meta({ description: 'A share fails every hour, independently and at any time.' }),
  draw: (failure, draw) => {
    const hazard = hazardOf(failure.rate)
    return lossesAt(failure, draw, hazard, () => hazard)
  },
  describe: (failure) =>
    `${eachOf(failure)} fails with ${percent(failure.rate)} in an hour, independently of the others.`,
})
