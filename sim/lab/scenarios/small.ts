/** Settings that the bundled training scenarios share: a small model, on a network of the paper's proportions. */
import type { WrittenScenario } from './written.ts'

export const SMALL_RUN = {
  stages: 6,
  spares: 2,
  microbatches: 2,
  model: { layers: 6, hiddenSize: 32, intermediateSize: 88, heads: 2, keyValueHeads: 2 },
  microbatch: { batch: 4, context: 32 },
  keep: 'all',
} as const

/**
 * Network and costs that give an iteration of some ten seconds. The iteration is long compared with the swarm's agreement,
 * as the paper's iteration is. A copy of a stage takes the same share of the time between two copies as 5 bytes a weight
 * on the paper's links.
 */
export const WIDE_AREA = {
  network: { within: { latencyMs: 250, mbitPerSecond: 5 } },
  compute: { forwardMs: 160, backwardMs: 320, endsMs: 160, updateMs: 40, startMs: 25_000 },
} satisfies Partial<WrittenScenario>
