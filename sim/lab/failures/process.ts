/** What a failure process is: a row of the table in `table.ts`. */
import { z } from 'zod'
import type { Random } from '../../../stages/random.ts'
import type { Loss, Place } from './loss.ts'

interface Drawing {
  readonly place: Place
  /** The process' own, of the seed. */
  readonly random: Random
  /** Folder of the scenario file, which paths in it are relative to. */
  readonly folder: string
}

export interface FailureProcess<Name extends string, Schema extends z.ZodType> {
  /** What a scenario says in `process`. */
  readonly name: Name
  readonly schema: Schema
  /** @returns in any order; what lies after the place's hours is dropped. */
  draw(failure: z.output<Schema>, drawing: Drawing): Loss[]
  /** One sentence for whoever reads the results. */
  describe(failure: z.output<Schema>): string
}

/** The row, with the types of its functions taken from its schema. */
export function failureProcess<const Name extends string, Schema extends z.ZodType>(
  row: FailureProcess<Name, Schema>,
): FailureProcess<Name, Schema> {
  return row
}

export function setting<Schema extends z.ZodType>(
  schema: Schema,
  unit: string,
  description: string,
) {
  return schema.meta({ unit, description })
}

/** The two fields that every process has. */
export function named<const Name extends string>(process: Name) {
  return {
    name: setting(z.string().min(1).max(60), '', 'Name of these failures in the results.'),
    process: setting(z.literal(process), '', 'Failure process.'),
  }
}

/** `16 %` of 0.16. */
export function percent(share: number): string {
  return `${Number((share * 100).toPrecision(4))} %`
}
