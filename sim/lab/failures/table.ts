/** All failure processes. What a scenario may say, its help and what is drawn come from this table. */
import { z } from 'zod'
import { Random } from '../../../stages/random.ts'
import { bursts } from './bursts.ts'
import { diurnal } from './diurnal.ts'
import { hourly } from './hourly.ts'
import { iteration } from './iteration.ts'
import { lifetimes } from './lifetimes.ts'
import type { Loss, Place } from './loss.ts'
import { none } from './none.ts'
import type { FailureProcess } from './process.ts'
import { spot } from './spot.ts'
import { trace } from './trace.ts'

const FAILURE_PROCESSES = [
  none,
  hourly,
  iteration,
  lifetimes,
  bursts,
  diurnal,
  spot,
  trace,
] as const

type Schemas<Rows extends readonly { readonly schema: z.ZodType }[]> = {
  readonly [Row in keyof Rows]: Rows[Row]['schema']
}

export const failureSchema = z.discriminatedUnion(
  'process',
  // A map over a tuple is one, which its type does not say.
  FAILURE_PROCESSES.map(({ schema }) => schema) as unknown as Schemas<typeof FAILURE_PROCESSES>,
)

export type Failure = z.output<typeof failureSchema>

/**
 * Depends on the failure's numbers, the place and the seed alone: all strategies face the same. Who fails does not
 * depend on how many others there are, as far as the process allows; of `hourly`, `iteration`, `diurnal` and `bursts`,
 * what fails at a lower rate fails at a higher one, too.
 * @param folder of the scenario file
 * @returns sorted by time
 * @throws InputError if nothing may fail or a trace is not as it should be, with its path and line
 */
export function drawLosses(failure: Failure, place: Place, seed: number, folder: string): Loss[] {
  const { name, draw } = rowOf(failure)
  const random = new Random(seed).stream('failures').stream(name)
  return draw(failure, { place, random, folder })
    .filter(({ hours }) => hours < place.hours)
    .sort((a, b) => a.hours - b.hours || numberOf(a) - numberOf(b))
}

/** One sentence for whoever reads the results. */
export function describeFailure(failure: Failure): string {
  return rowOf(failure).describe(failure)
}

function rowOf(failure: Failure): FailureProcess<string, z.ZodType<Failure>> {
  return FAILURE_PROCESSES.find(
    ({ name }) => name === failure.process,
  ) as unknown as FailureProcess<string, z.ZodType<Failure>>
}

function numberOf(loss: Loss): number {
  return 'stage' in loss ? loss.stage : loss.slot
}
