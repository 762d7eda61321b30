/**
 * Process `spot`: peers are lost as four recorded fleets lost cloud instances at spot prices.
 * Instances are lost in groups at independent times.
 * A group is one instance, or several at the same moment, of geometric size.
 * Any instance of the fleet may be in a group.
 * A swarm that is larger than the recorded fleet is several such fleets, and a smaller swarm is a part of one.
 * So a group of ten out of 76 instances takes about one of eight peers, not all eight.
 */
import { z } from 'zod'
import { exponential } from '../../exponential.ts'
import { chooseSome } from './choose.ts'
import { geometric } from './draws.ts'
import { failureProcess, named, setting } from './process.ts'

interface Fleet {
  readonly says: string
  /** Mean number of instances over the recording. */
  readonly instances: number
  /** Removals an hour for each instance that is present. */
  readonly perInstanceHour: number
  /** Share of removals that coincide with another one: same time, or between the same two samples. */
  readonly together: number
  /** Mean number of instances in a group of coinciding removals. */
  readonly groupMean: number
}

/** Statistics of the traces that Bamboo (Thorpe et al., NSDI 2023) recorded; docs/FAILURES.md compares them. */
const FLEETS = {
  'aws-p3': {
    says: 'V100 at AWS',
    instances: 24,
    perInstanceHour: 0.61,
    together: 0.77,
    groupMean: 3.2,
  },
  'aws-g4dn': {
    says: 'T4 at AWS',
    instances: 13,
    perInstanceHour: 0.55,
    together: 0.58,
    groupMean: 2.5,
  },
  'gcp-a100': {
    says: 'A100 at Google',
    instances: 57,
    perInstanceHour: 0.1,
    together: 0.91,
    groupMean: 6.4,
  },
  'gcp-v100': {
    says: 'V100 at Google',
    instances: 76,
    perInstanceHour: 0.31,
    together: 0.97,
    groupMean: 10.6,
  },
} as const satisfies Record<string, Fleet>

const LIKES = ['aws-p3', 'aws-g4dn', 'gcp-a100', 'gcp-v100'] as const

export const spot = failureProcess({
  name: 'spot',
  schema: z
    .strictObject({
      ...named('spot'),
      like: setting(
        z.enum(LIKES),
        '',
        'Recorded fleet of spot instances whose statistics the losses have.',
      ),
    })
    .meta({ description: 'Peers are lost like spot instances, many at the same time.' }),
  draw: ({ like }, { place, random }) => {
    const { instances, perInstanceHour, together, groupMean } = FLEETS[like]
    // The share `together` of removals is in groups, and a group has `groupMean` removals.
    const groupsPerRemoval = together / groupMean
    const eventsPerRemoval = groupsPerRemoval + 1 - together
    const hoursBetween = 1 / (instances * perInstanceHour * eventsPerRemoval)
    const groupShare = groupsPerRemoval / eventsPerRemoval
    const fleets = Array.from({ length: Math.ceil(place.peers / instances) }, (_, fleet) => fleet)
    return fleets.flatMap((fleet) => {
      const draws = random.stream(like).stream(fleet)
      const losses: { hours: number; slot: number }[] = []
      let hours = exponential(hoursBetween, draws)
      for (let event = 0; hours < place.hours; event++, hours += exponential(hoursBetween, draws)) {
        const grouped = draws.float() < groupShare
        const size = grouped ? 1 + geometric(groupMean - 1, draws) : 1
        for (const member of chooseSome(instances, size, draws.stream(event))) {
          const slot = fleet * instances + member
          if (slot < place.peers) losses.push({ hours, slot })
        }
      }
      return losses
    })
  },
  describe: ({ like }) => {
    const { says, perInstanceHour, instances } = FLEETS[like]
    return `Peers are lost as spot instances with a ${says} were: ${perInstanceHour} an hour each, often several at the same time, in fleets of ${instances}.`
  },
})
