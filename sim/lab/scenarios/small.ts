/** What the bundled scenarios that train have in common: a model of seconds, on a network of the paper's proportions. */
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
 * An iteration of some ten seconds: long beside what the swarm has to say to itself, as the paper's is. The uplink is such
 * that a copy of a stage takes as much of the time between two of them as 5 bytes a weight would of the paper's links.
 */
export const WIDE_AREA = {
  network: { within: { latencyMs: 250, mbitPerSecond: 5 } },
  compute: { forwardMs: 160, backwardMs: 320, endsMs: 160, updateMs: 40, startMs: 25_000 },
} satisfies Partial<WrittenScenario>
