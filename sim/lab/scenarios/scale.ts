/** A swarm of volunteers: thousands of peers on home networks, of three speeds, that come and go for a day. */
import type { WrittenScenario } from './written.ts'

export const scale: WrittenScenario = {
  format: 'gensyn-scenario',
  version: 1,
  name: 'scale',
  says: '5,000 volunteers and 64 stages for a day. Of the peers present at the beginning of an hour, 16 % are lost in that hour, and replaced at once.',
  mode: 'scale',
  peers: 5_000,
  run: {
    stages: 64,
    spares: 100,
    microbatches: 16,
    model: { layers: 64, hiddenSize: 128, intermediateSize: 344, heads: 4, keyValueHeads: 4 },
    microbatch: { batch: 4, context: 128 },
    wire: 'int8',
  },
  network: {
    regions: ['Europe', 'America', 'Asia'],
    within: { latencyMs: 20, mbitPerSecond: 40 },
    between: [
      { regions: ['Europe', 'America'], latencyMs: 50, mbitPerSecond: 40 },
      { regions: ['America', 'Asia'], latencyMs: 80, mbitPerSecond: 40 },
      { regions: ['Europe', 'Asia'], latencyMs: 100, mbitPerSecond: 40 },
    ],
  },
  compute: {
    forwardMs: 20,
    backwardMs: 60,
    endsMs: 20,
    updateMs: 5,
    startMs: 5_000,
    speeds: [1, 0.5, 2],
  },
  failures: [{ name: '16 % an hour', process: 'hourly', rate: 0.16, of: 'peer' }],
  strategies: ['none', 'shadow'],
  budget: { hours: 24 },
}
