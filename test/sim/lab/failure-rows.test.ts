/** Each failure process has an example with the law of its count, a sentence, and a row of docs/FAILURES.md. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Place } from '../../../sim/lab/failures/loss.ts'
import {
  describeFailure,
  drawLosses,
  type Failure,
  failureSchema,
} from '../../../sim/lab/failures/table.ts'
import { temporaryFolder } from '../../fixtures/folder.ts'

const PEERS = 13
const STAGES = 6
const ITERATIONS_PER_HOUR = 40

interface Law {
  /** The fields of the process beside its names. */
  readonly fields: object
  /** Mean number of losses in an hour. */
  readonly perHour: number
  /**
   * Mean number of losses that come together. The variance of the count is at most its square times the Poisson variance.
   */
  readonly together: number
}

/** Laws of all rows. A row without a law is a type error, and fails below. */
const LAWS: Readonly<Record<Failure['process'], Law>> = {
  none: { fields: {}, perHour: 0, together: 1 },
  hourly: { fields: { rate: 0.1, of: 'peer' }, perHour: -Math.log(0.9) * PEERS, together: 1 },
  iteration: {
    fields: { probability: 0.01 },
    perHour: 0.01 * STAGES * ITERATIONS_PER_HOUR,
    together: 1,
  },
  lifetimes: {
    fields: { distribution: 'exponential', meanHours: 4 },
    perHour: PEERS / 4,
    together: 1,
  },
  bursts: {
    fields: { perHour: 0.2, size: 1.5, by: 'any', of: 'peer' },
    perHour: 0.3,
    together: 1.5,
  },
  diurnal: {
    fields: { rate: 0.1, amplitude: 0.7, peakHour: 20, of: 'peer' },
    perHour: -Math.log(0.9) * PEERS,
    together: 1,
  },
  // The recorded fleet had 13 instances: 0.55 removals for each instance and hour, mostly in groups of 2.5.
  spot: { fields: { like: 'aws-g4dn' }, perHour: 0.55 * PEERS, together: 2.5 },
  // Each round of two hours has two removals.
  trace: { fields: { path: 'fleet.csv' }, perHour: 1, together: 1 },
}

const processes = failureSchema.options.map(({ shape }) => shape.process.value)

/** A recorded fleet of two hours: `a` and `b` are removed an hour apart. */
function fleetFolder(): string {
  const folder = temporaryFolder()
  const lines = ['0,add,a', '0,add,b', '3600000,remove,a', '3600000,add,c', '7200000,remove,b']
  writeFileSync(join(folder, 'fleet.csv'), `${lines.join('\n')}\n`)
  return folder
}

function draw(process: Failure['process'], hours: number, seed = 1) {
  const place: Place = {
    hours,
    stages: STAGES,
    peers: PEERS,
    regionOf: (slot) => `region ${slot % 3}`,
    iterationSeconds: 3600 / ITERATIONS_PER_HOUR,
  }
  const failure = failureSchema.parse({ name: 'some', process, ...LAWS[process].fields })
  return { failure, losses: drawLosses(failure, place, seed, fleetFolder()) }
}

describe.each(processes)('%s', (process) => {
  test('has a law', () => {
    expect(LAWS[process]).toBeDefined()
  })

  test('loses as many as its law says', () => {
    const hours = 2400
    const { perHour, together } = LAWS[process]
    const { losses } = draw(process, hours)
    const mean = perHour * hours
    // The bound is four standard deviations of a Poisson count whose events come in groups.
    expect(Math.abs(losses.length - mean)).toBeLessThanOrEqual(4 * together * Math.sqrt(mean))
  })

  test('draws the same for the same seed, in the order of time, within the hours', () => {
    const { losses } = draw(process, 100)
    expect(draw(process, 100).losses).toEqual(losses)
    const hours = losses.map((loss) => loss.hours)
    expect(hours).toEqual(hours.toSorted((a, b) => a - b))
    expect(hours.every((hour) => hour >= 0 && hour < 100)).toBe(true)
  })

  test('says in a sentence what happens', () => {
    expect(describeFailure(draw(process, 1).failure)).toMatch(/^[A-Z0-9].*\.$/)
  })

  test('has a row in docs/FAILURES.md', () => {
    expect(readFileSync('docs/FAILURES.md', 'utf8')).toContain(`\n| \`${process}\` |`)
  })
})
