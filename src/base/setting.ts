/** How a setting of the manifest is written down: its bounds, default, unit and meaning in one place. */
import { z } from 'zod'

/** A schema with its default, its unit ('' for none) and what it means. */
export function setting<T extends z.ZodType>(
  schema: T,
  byDefault: z.util.NoUndefined<z.output<T>>,
  unit: string,
  description: string,
) {
  return schema.default(byDefault).meta({ unit, description })
}

/** A group of settings; left out, each takes its default. */
export function group<T extends z.ZodRawShape>(description: string, shape: T) {
  return z.strictObject(shape).meta({ description })
}

/** A whole number from 1 to `max`. */
export const upTo = (max: number) => z.int().min(1).max(max)
export const positive = z.number().positive()
