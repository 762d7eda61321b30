/** Process `bursts`: several peers or stages fail together, as when a rack, a provider or a region fails. */
import { z } from 'zod'
import type { Random } from '../../../stages/random.ts'
import { chooseOne, chooseSome } from './choose.ts'
import { geometric, thinnedHours } from './draws.ts'
import type { Place } from './loss.ts'
import { failureProcess, named, setting } from './process.ts'
import {
  eachOf,
  endsFit,
  PEERS_HAVE_NO_ENDS,
  type Target,
  targetFields,
  targetsOf,
} from './targets.ts'

/** Longest time from the first failure of a burst to its last one, in hours. */
const BURST_HOURS = 5 / 3600

const PER_HOUR_MAX = 1000
const SIZE_MAX = 100_000

export const bursts = failureProcess({
  name: 'bursts',
  schema: z
    .strictObject({
      ...named('bursts'),
      perHour: setting(
        z.number().min(0).max(PER_HOUR_MAX),
        'bursts an hour',
        'Number of bursts an hour, at independent times. The bursts of a lower rate are among those of a higher rate.',
      ),
      size: setting(
        z.number().min(1).max(SIZE_MAX),
        '',
        'Mean number of peers or stages that fail in a burst (geometric), at most those present.',
      ),
      by: setting(
        z.enum(['region', 'any']),
        '',
        'Members of a burst: `region` for peers of one region or consecutive stages, or `any`.',
      ),
      ...targetFields,
    })
    .refine(endsFit, PEERS_HAVE_NO_ENDS)
    .meta({
      description: 'Several peers or stages fail within five seconds, at independent times.',
    }),
  draw: (failure, { place, random }) => {
    const choose = chooserOf(failure, place)
    const { perHour } = failure
    return thinnedHours(random, place.hours, perHour, () => perHour).flatMap((hour) => {
      // The time names the stream, because the number of the burst would depend on the rate.
      const burst = random.stream(`burst ${hour}`)
      const size = geometric(failure.size, burst)
      const struck = choose(size, burst)
      const delays = burst.stream('delays')
      return struck.map((target, i) => ({
        hours: hour + BURST_HOURS * delays.stream(i).float(),
        ...target,
      }))
    })
  },
  describe: (failure) => {
    const what = failure.of === 'stage' ? 'stages' : 'peers'
    const near = failure.of === 'stage' ? 'neighbours' : 'all in one region'
    const who = failure.by === 'any' ? '' : `, ${near}`
    return `${failure.perHour} times an hour, ${failure.size} ${what} on average fail within seconds${who}. ${eachOf(failure)} can be among them.`
  },
})

type Bursts = z.output<(typeof bursts)['schema']>

/** Function that draws the targets of a burst from its size and its random numbers. */
function chooserOf(
  failure: Bursts,
  place: Place,
): (size: number, burst: Random) => readonly Target[] {
  if (failure.by === 'region' && failure.of === 'peer') {
    const regions = slotsByRegion(place)
    return (size, burst) => {
      const slots = regions[chooseOne(regions.length, burst.stream('region'))]!
      return chooseSome(slots.length, size, burst.stream('members')).map((i) => slots[i]!)
    }
  }
  const targets = targetsOf(failure, place)
  if (failure.by === 'region') {
    return (size, burst) => {
      const count = Math.min(size, targets.length)
      const first = chooseOne(targets.length - count + 1, burst.stream('members'))
      return targets.slice(first, first + count)
    }
  }
  return (size, burst) =>
    chooseSome(targets.length, size, burst.stream('members')).map((i) => targets[i]!)
}

function slotsByRegion({ peers, regionOf }: Place): Target[][] {
  const regions = new Map<string, Target[]>()
  for (let slot = 0; slot < peers; slot++) {
    const slots = regions.get(regionOf(slot))
    if (slots === undefined) regions.set(regionOf(slot), [{ slot }])
    else slots.push({ slot })
  }
  return [...regions.values()]
}
