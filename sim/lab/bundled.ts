/** The scenarios that come with the node, by name. */
import {
  paper500m,
  paperAblation,
  paperBursts,
  paperBurstsStoreless,
  paperCalm,
  paperLarger,
  paperSpot,
  paperSpotStoreless,
} from './scenarios/paper.ts'
import { quick } from './scenarios/quick.ts'
import { scale } from './scenarios/scale.ts'
import type { WrittenScenario } from './scenarios/written.ts'

export const BUNDLED: Readonly<Record<string, WrittenScenario>> = {
  quick,
  'paper-500m': paper500m,
  'paper-ablation': paperAblation,
  'paper-larger': paperLarger,
  'paper-calm': paperCalm,
  'paper-bursts': paperBursts,
  'paper-spot': paperSpot,
  'paper-bursts-storeless': paperBurstsStoreless,
  'paper-spot-storeless': paperSpotStoreless,
  scale,
}
