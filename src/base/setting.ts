/** Builders for settings of the manifest: bounds, default, unit and meaning stand in one place. */
import { z } from 'zod'

/** A schema with its default, its unit ('' for none) and its description. */
export function setting<T extends z.ZodType>(
  schema: T,
  byDefault: z.util.NoUndefined<z.output<T>>,
  unit: string,
  description: string,
) {
  return schema.default(byDefault).meta({ unit, description })
}

/** A group of settings. A setting that is left out takes its default. */
export function group<T extends z.ZodRawShape>(description: string, shape: T) {
  return z.strictObject(shape).meta({ description })
}

/** Schema of an integer from 1 to `max`. */
export const upTo = (max: number) => z.int().min(1).max(max)
/** Schema of a number above 0. */
export const positive = z.number().positive()
