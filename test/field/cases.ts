/** The table of all cases of the field tests. */
import type { FieldCase } from './case.ts'
import { CLOCK_CASES } from './cases/clock.ts'
import { DISK_CASES } from './cases/disks.ts'
import { FOUNDING_CASES } from './cases/founding.ts'
import { LINK_CASES } from './cases/links.ts'
import { LOAD_CASES } from './cases/load.ts'
import { MAJORITY_CASES } from './cases/majority.ts'
import { RETURN_CASES } from './cases/return.ts'
import { STAGE_CASES } from './cases/stages.ts'

export const CASES: readonly FieldCase[] = [
  ...CLOCK_CASES,
  ...RETURN_CASES,
  ...FOUNDING_CASES,
  ...MAJORITY_CASES,
  ...DISK_CASES,
  ...STAGE_CASES,
  ...LINK_CASES,
  ...LOAD_CASES,
]
