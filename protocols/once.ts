/** Schemas that check an object once for all peers of a process. */
import { z } from 'zod'

/**
 * Wraps a schema for objects that virtual peers of one process receive without serialization. Each object is checked once, and
 * all receivers get the same copy, which must not be changed. A message that arrives as text is checked every time.
 */
export function once<T extends object>(schema: z.ZodType<T>): z.ZodType<T> {
  const checked = new WeakMap<object, T>()
  return z.unknown().transform((value, context) => {
    const known = typeof value === 'object' && value !== null ? checked.get(value) : undefined
    if (known !== undefined) return known
    const result = schema.safeParse(value)
    if (!result.success) {
      for (const { path, message } of result.error.issues) {
        context.addIssue({ code: 'custom', path, message })
      }
      return z.NEVER
    }
    checked.set(value as object, result.data)
    checked.set(result.data, result.data)
    return result.data
  })
}
