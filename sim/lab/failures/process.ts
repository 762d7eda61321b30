/** Defines a failure process, which is a row of the table in `table.ts`. */
import { z } from 'zod'
import type { Random } from '../../../stages/random.ts'
import type { Loss, Place } from './loss.ts'

interface Drawing {
  readonly place: Place
  /** Random stream of this process and seed. */
  readonly random: Random
  /** Folder of the scenario file; paths in the scenario are relative to it. */
  readonly folder: string
}

export interface FailureProcess<Name extends string, Schema extends z.ZodType> {
  /** Value of the scenario's field `process`. */
  readonly name: Name
  readonly schema: Schema
  /** @returns losses in any order; the caller drops those after the place's hours */
  draw(failure: z.output<Schema>, drawing: Drawing): Loss[]
  /** Describes the failures in one sentence for the results. */
  describe(failure: z.output<Schema>): string
}

/** Returns the row, and infers the types of its functions from its schema. */
export function failureProcess<const Name extends string, Schema extends z.ZodType>(
  row: FailureProcess<Name, Schema>,
): FailureProcess<Name, Schema> {
  return row
}

/** Schema of a setting with its unit and description for the help. */
export function setting<Schema extends z.ZodType>(
  schema: Schema,
  unit: string,
  description: string,
) {
  return schema.meta({ unit, description })
}

/** The two fields that every process has: `name` and `process`. */
export function named<const Name extends string>(process: Name) {
  return {
    name: setting(z.string().min(1).max(60), '', 'Name of these failures in the results.'),
    process: setting(z.literal(process), '', 'Failure process.'),
  }
}

/** Share as a percentage, for example `16 %` for 0.16. */
export function percent(share: number): string {
  return `${Number((share * 100).toPrecision(4))} %`
}
