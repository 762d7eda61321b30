/** Schemas of what many get. */
import { z } from 'zod'

/**
 * The same schema for objects that come again and again, where virtual peers of one process hand them over as they are:
 * each is checked once, and all get the same copy, which nobody may change. What came as text is checked every time.
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
