/** Loads into a freshly built stage its state from a checkpoint. */
import { ProtocolError } from '../../protocols/errors.ts'
import type { Origin } from '../../protocols/membership.ts'
import type { AnyStage } from '../../stages/stage.ts'
import { type Run, runId } from '../run/run.ts'
import type { RestoredState } from '../run/stage-state.ts'
import { CheckpointError } from './error.ts'
import { loadLayout } from './load.ts'
import { isOf } from './manifest.ts'
import { openStep } from './steps.ts'
import type { Store } from './store.ts'

export interface RestoreOptions {
  readonly run: Run
  readonly checkpoints?: Store | null
  /** The checkpoint that the run was started from; null if it started from its seed. */
  origin(): Origin | null
}

/** @throws ProtocolError REFUSED without a store; CORRUPT, with its name, if a tensor or file is damaged or missing */
export async function restoreStage(
  { run, checkpoints = null, origin }: RestoreOptions,
  stage: AnyStage,
  step: number,
): Promise<RestoredState> {
  if (checkpoints === null) {
    throw new ProtocolError('REFUSED', 'this peer was given no store (--checkpoints)')
  }
  try {
    const manifest = await openStep(checkpoints, step)
    if (!isOf(manifest, run, origin())) {
      const saved = runId(manifest.run)
      throw new CheckpointError(`step ${step} is of another run, ${saved.slice(0, 12)}`)
    }
    const { length } = stage.weights
    const layout = { parameters: stage.parameters, length }
    const loaded = await loadLayout(checkpoints, manifest, run.optimizer, layout)
    const { weights, optimizer, learningRateScale, gradientNorm } = loaded
    await stage.load(weights, optimizer)
    const { firstMoment, secondMoment, updates } = optimizer
    const bytes = weights.byteLength + firstMoment.byteLength + secondMoment.byteLength
    const facts = { learningRateScale, norm: gradientNorm, updates }
    return { bytes, norms: [], ofStep: step, ...facts }
  } catch (error) {
    if (!(error instanceof CheckpointError)) throw error
    throw new ProtocolError('CORRUPT', error.message, { cause: error })
  }
}
