/** The scenarios that come with the node, by name. */
import { quick } from './scenarios/quick.ts'
import type { WrittenScenario } from './scenarios/written.ts'

export const BUNDLED: Readonly<Record<string, WrittenScenario>> = { quick }
