/**
 * Measures the virtual time of an iteration of this project's node on the paper's testbed.
 * The simulation runs the node's own code with one peer for each stage in the paper's regions.
 * Sizes of activations and compute times are the paper's.
 */
import { createJournal, type Entry } from '../../../src/base/journal.ts'
import { runNode } from '../../../src/node/node.ts'
import { runId } from '../../../src/run/run.ts'
import { runSchema } from '../../../src/run/run-schema.ts'
import { costTokens, createCostStage } from '../../world/cost-stage.ts'
import { VirtualNetwork } from '../../world/network.ts'
import { World } from '../../world/world.ts'
import { PAPER_PROTOCOL } from './iteration.ts'
import { paperLinks, type Sharing } from './regions.ts'

/** The paper's batch with a shorter context. `bodyScale` makes a body count as large as the paper's. */
const BATCH = { batch: 8, context: 16 }
/** The paper's width. */
const HIDDEN = 1024
const ELEMENTS = BATCH.batch * BATCH.context * HIDDEN
/** Number of iterations. The first one does not count, because it includes the building of stages. */
const ITERATIONS = 3
const LIMIT_MS = 3_600_000

/**
 * Measures the mean seconds of virtual time of an iteration after the first.
 * Long because it reads as a list of one experiment's settings followed by its run.
 * @param sharing whether the transfers of a peer share its uplink, which they do not in the paper's code
 */
export async function playOurIteration(sharing: Sharing): Promise<number> {
  const { stages: all, microbatches, forwardMs, backwardMs, activationBytes } = PAPER_PROTOCOL
  const stages = all - 1
  const run = runSchema.parse({
    format: 'gensyn-run',
    version: 1,
    steps: ITERATIONS,
    stages,
    microbatches,
    model: { layers: stages, hiddenSize: HIDDEN, heads: 16, keyValueHeads: 16 },
    microbatch: BATCH,
    data: { source: 'file:none', sha256: '0'.repeat(64), bytes: 1 },
    evaluation: { everySteps: 2 * ITERATIONS, microbatches: 1 },
    // These strategies need no upkeep, and the paper's testbed has none.
    recovery: { policy: ['checkfree', 'copy', 'random'] },
  })
  const world = new World({ seed: 1 })
  const links = paperLinks(sharing)
  const network = new VirtualNetwork({
    world,
    links: (from, to) => links(Number(from), Number(to)),
    bodyScale: activationBytes / (ELEMENTS * Float32Array.BYTES_PER_ELEMENT),
  })
  const madeAt: number[] = []
  const record = (entry: Entry) => {
    if (entry.type === 'step') madeAt.push(entry.at)
  }
  const costs: Partial<Record<string, number>> = {
    forward: forwardMs,
    forwardKeeping: forwardMs,
    backward: backwardMs,
  }
  const length = BATCH.batch * BATCH.context
  const tokens = (step: number, index: number) => costTokens(step, index, length)
  const data = (step: number, index: number) => ({
    tokens: tokens(step, index),
    targets: tokens(step, index),
  })
  const join = (slot: number) => {
    const own = network.join(String(slot))
    const { machine } = own
    return runNode({
      run,
      runId: runId(run),
      network: own,
      clock: machine.clock,
      journal: createJournal(own.self, () => world.clock.now(), [record]),
      wish: slot,
      lastStep: run.steps,
      signal: new AbortController().signal,
      discover: async (enter) =>
        slot === 0 ? null : enter(await own.connect('sim://0', { timeoutMs: 10_000 })),
      createStage: async (index) =>
        createCostStage(index, {
          machine,
          costMs: (method) => costs[method] ?? 0,
          stages,
          elements: ELEMENTS,
        }),
      loadData: async () => ({ training: data, heldOut: (index) => data(0, index) }),
    })
  }
  const finished = Promise.all(Array.from({ length: all }, (_, slot) => join(slot)))
  await world.run(finished, { waitingFor: 'our iterations', untilMs: LIMIT_MS })
  return (madeAt.at(-1)! - madeAt[0]!) / 1000 / (madeAt.length - 1)
}
