/** Process `lifetimes`: peers stay for a random time. The replacement of a lost peer draws a new time. */
import { z } from 'zod'
import { exponential } from '../../exponential.ts'
import { weibull } from './draws.ts'
import { failureProcess, named, setting } from './process.ts'

const HOURS_MIN = 0.1
const SHAPE_MIN = 0.3
const SHAPE_MAX = 20

export const lifetimes = failureProcess({
  name: 'lifetimes',
  schema: z
    .strictObject({
      ...named('lifetimes'),
      distribution: setting(
        z.enum(['exponential', 'weibull']),
        '',
        'Distribution of the time that a peer stays: `exponential` (without aging) or `weibull`.',
      ),
      meanHours: setting(z.number().min(HOURS_MIN), 'hours', 'Mean time that a peer stays.'),
      shape: setting(
        z.number().min(SHAPE_MIN).max(SHAPE_MAX).optional(),
        '',
        'Shape of the Weibull distribution, required for weibull only. Below 1 most peers leave early and some stay very long, as volunteers do. Above 1 all peers stay for similar times.',
      ),
    })
    .refine(({ distribution, shape }) => (distribution === 'weibull') === (shape !== undefined), {
      message: 'weibull needs a shape, exponential takes none',
      path: ['shape'],
    })
    .meta({
      description: 'Peers stay for a time of a given distribution. All peers are new at the start.',
    }),
  draw: ({ meanHours, shape }, { place, random }) =>
    Array.from({ length: place.peers }, (_, slot) => {
      const draws = random.stream(slot)
      const life = () =>
        shape === undefined ? exponential(meanHours, draws) : weibull(meanHours, shape, draws)
      const losses: { hours: number; slot: number }[] = []
      for (let hours = life(); hours < place.hours; hours += life()) losses.push({ hours, slot })
      return losses
    }).flat(),
  describe: ({ distribution, meanHours, shape }) => {
    const how = distribution === 'weibull' ? `Weibull with shape ${shape}` : 'exponential'
    return `Each peer stays for ${meanHours} hours on average (${how}); another one comes in its place.`
  },
})
