/** The table of all cases of the field tests. */
import type { FieldCase } from './case.ts'
import { CLOCK_CASES } from './cases/clock.ts'
import { FOUNDING_CASES } from './cases/founding.ts'
import { RETURN_CASES } from './cases/return.ts'

export const CASES: readonly FieldCase[] = [...CLOCK_CASES, ...RETURN_CASES, ...FOUNDING_CASES]
