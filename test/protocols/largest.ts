/** The largest value that a schema takes, by the length of its JSON. */
import type { z } from 'zod'

/** Longest texts of a number: an integer, and a float. */
const LARGEST_INT = Number.MAX_SAFE_INTEGER
const LONGEST_FLOAT = 2 ** -1_000 / 3

/** As the definitions of zod are, for those parts that the protocols use. */
interface Definition {
  readonly type: string
  readonly shape?: Record<string, z.ZodType>
  readonly element?: z.ZodType
  readonly innerType?: z.ZodType
  readonly options?: readonly z.ZodType[]
  readonly values?: readonly unknown[]
  readonly entries?: Record<string, string>
}

/** One bound of a schema. */
interface Check {
  readonly check: string
  readonly maximum?: number
  readonly length?: number
  readonly value?: number
  readonly pattern?: RegExp
}

interface Internals {
  readonly def: Definition & {
    readonly format?: string
    readonly checks?: { _zod: { def: Check } }[]
  }
}

/**
 * @param custom gives values of schemas that a function checks
 * @throws Error for a string or a list without a bound
 */
export function largest(schema: z.ZodType, custom: (schema: z.ZodType) => unknown): unknown {
  const { def } = schema._zod as unknown as Internals
  const checks = (def.checks ?? []).map(({ _zod }) => _zod.def)
  const inner = (each: z.ZodType) => largest(each, custom)
  switch (def.type) {
    case 'object':
      return Object.fromEntries(
        Object.entries(def.shape!).map(([name, field]) => [name, inner(field)]),
      )
    case 'array': {
      const item = inner(def.element!)
      return Array.from({ length: bounded(checks, 'list') }, () => item)
    }
    case 'string':
      return worst(checks).repeat(bounded(checks, 'string'))
    case 'number':
      return def.format === undefined ? LONGEST_FLOAT : Math.min(LARGEST_INT, ...atMost(checks))
    case 'union':
      return longest(def.options!.map(inner))
    case 'enum':
      return longest(Object.values(def.entries!))
    case 'literal':
      return longest([...def.values!])
    case 'nullable':
    case 'optional':
      return longest([null, inner(def.innerType!)])
    case 'boolean':
      return false
    case 'custom':
      return custom(schema)
    default:
      throw new Error(`no largest ${def.type} is known here`)
  }
}

function atMost(checks: readonly Check[]): number[] {
  return checks.filter(({ check }) => check === 'less_than').map(({ value }) => value!)
}

function bounded(checks: readonly Check[], what: string): number {
  const most = checks.flatMap(({ length, maximum }) => length ?? maximum ?? [])
  if (most.length === 0) throw new Error(`a ${what} has no bound`)
  return Math.min(...most)
}

/** The character that takes most bytes of JSON, of those that the schema takes. */
function worst(checks: readonly Check[]): string {
  const takes = (text: string) => checks.every(({ pattern }) => pattern?.test(text) ?? true)
  return ['\u0001', '"', 'x', 'a'].find(takes)!
}

function longest(values: readonly unknown[]): unknown {
  const length = (value: unknown) => JSON.stringify(value)?.length ?? 0
  return values.reduce((best, value) => (length(value) > length(best) ? value : best))
}
