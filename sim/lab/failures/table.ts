/** Table of all failure processes: the schema of scenarios, their help and the draws come from it. */
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
  // Mapping a tuple gives a tuple, but the type of `map` does not say so.
  FAILURE_PROCESSES.map(({ schema }) => schema) as unknown as Schemas<typeof FAILURE_PROCESSES>,
)

export type Failure = z.output<typeof failureSchema>

/**
 * Draws losses from the failure's settings, the place and the seed alone, so all strategies face the same losses.
 * Losses of a peer or stage do not depend on the number of others, as far as the process allows.
 * The losses of a lower rate are among those of a higher rate for `hourly`, `iteration`, `diurnal` and `bursts`.
 * @param folder folder of the scenario file
 * @returns losses sorted by time
 * @throws InputError if nothing may fail, or if a trace is invalid, with its path and line
 */
export function drawLosses(failure: Failure, place: Place, seed: number, folder: string): Loss[] {
  const { name, draw } = rowOf(failure)
  const random = new Random(seed).stream('failures').stream(name)
  return draw(failure, { place, random, folder })
    .filter(({ hours }) => hours < place.hours)
    .sort((a, b) => a.hours - b.hours || numberOf(a) - numberOf(b))
}

/** Describes the failures in one sentence for the results. */
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
