/** Deadlines of work on a stage. Each knows how many bytes the work moves, so that it suits small and large models. */
import { wireBytes } from '../../protocols/codec.ts'
import { layoutOf } from '../../stages/parameters.ts'
import { TIMEOUTS } from '../base/limits.ts'
import { deadlineFor } from '../base/transfer-time.ts'
import { type Run, stageConfig } from './run.ts'

/** Weights and two moments. */
const STATE_PARTS = 3
const FLOAT_BYTES = Float32Array.BYTES_PER_ELEMENT

const known = new WeakMap<Run, ReadonlyMap<number, number>>()

/** Bytes of the weights of each stage, which are also those of its gradient. */
function weightBytes(run: Run, stage: number): number {
  const sizes = known.get(run) ?? new Map<number, number>()
  const size = sizes.get(stage)
  if (size !== undefined) return size
  const { parameters } = layoutOf(stageConfig(run), stage)
  const bytes = FLOAT_BYTES * parameters.reduce((sum, { length }) => sum + length, 0)
  known.set(run, new Map([...sizes, [stage, bytes]]))
  return bytes
}

/** Bytes of the whole state of a stage. */
function stateBytes(run: Run, stage: number): number {
  return STATE_PARTS * weightBytes(run, stage)
}

function stagesOf({ stages }: Run): number[] {
  return Array.from({ length: stages + 1 }, (_, stage) => stage)
}

/** Deadline for a member to build a stage and to fetch its state. */
export function holdMs(run: Run, stage: number): number {
  return deadlineFor(TIMEOUTS.holdMs, stateBytes(run, stage))
}

/** Deadline for the states of all stages to be read and checked in a store. */
export function checkpointReadMs(run: Run): number {
  const bytes = stagesOf(run).reduce((sum, stage) => sum + stateBytes(run, stage), 0)
  return deadlineFor(TIMEOUTS.holdMs, bytes)
}

/** Deadline for the stage of a leaving member to be handed over. */
export function drainMs(run: Run): number {
  const largest = Math.max(...stagesOf(run).map((stage) => stateBytes(run, stage)))
  return deadlineFor(TIMEOUTS.drainMs, largest)
}

/** Deadline for all holders of a stage to have the sum of their gradients: each sends its own, and fetches the totals. */
export function reduceMs(run: Run, stage: number): number {
  return deadlineFor(TIMEOUTS.reduceMs, 2 * weightBytes(run, stage))
}

/** Deadline for one chunk of a stage's gradients, behind all other chunks of the stage. */
export function gradientsMs(run: Run, stage: number): number {
  return deadlineFor(TIMEOUTS.gradientsMs, weightBytes(run, stage))
}

/** Deadline for a step: each microbatch crosses each link forward and backward. */
export function wholeStepMs(run: Run): number {
  const { microbatch, microbatches, model, wire } = run
  const activation = wireBytes(wire, microbatch.batch * microbatch.context * model.hiddenSize)
  return deadlineFor(TIMEOUTS.stepMs, 2 * microbatches * activation)
}
