/** A scenario as it is written, before defaults are added. */
import type { z } from 'zod'
import type { scenarioSchema } from '../scenario.ts'

export type WrittenScenario = z.input<typeof scenarioSchema>
