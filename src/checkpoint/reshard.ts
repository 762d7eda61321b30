/** `gensyn-node reshard`: rewrites a checkpoint for another number of stages, with the manifest of that run. */
import { existsSync } from 'node:fs'
import { layoutOf } from '../../stages/parameters.ts'
import { InputError } from '../base/errors.ts'
import type { Terminal } from '../base/terminal.ts'
import { type Run, runId, stageConfig, withStages, writeRun } from '../run/run.ts'
import { CheckpointError } from './error.ts'
import { type Found, findLatest, findStep } from './find-step.ts'
import { loadStage } from './load.ts'
import { MANIFEST, type Manifest, stepFolder } from './manifest.ts'
import { openStore, type StoreContext } from './open-store.ts'
import { commitStep, saveStage } from './save.ts'
import type { Store } from './store.ts'

export interface ReshardOptions {
  readonly from: string
  readonly out: string
  readonly stages: number
  /** Undefined for the last complete step. */
  readonly step?: number | undefined
  /** Path of the new run's manifest. */
  readonly runOut: string
  readonly force: boolean
}

/** @throws InputError if the checkpoint is missing or damaged, or its layers do not divide by the number of stages */
export async function reshard(
  options: ReshardOptions,
  context: StoreContext & { readonly terminal: Terminal },
): Promise<void> {
  const { from, out, stages, step, runOut, force } = options
  const { terminal } = context
  const source = openStore(from, context)
  const target = openStore(out, context)
  const { manifest, place } = await asInput(() =>
    step === undefined ? latest(source, terminal) : findStep(source, step),
  )
  const run = withStages(manifest.run, stages, `step ${manifest.step} of ${source.location}`)
  if (!force) await refuseExisting(target, manifest.step, runOut)
  await asInput(() => rewrite(place, manifest, target, run))
  writeRun(runOut, run, { force })
  terminal.event({
    type: 'resharded',
    from: source.location,
    out: target.location,
    step: manifest.step,
    stages: { from: manifest.run.stages, to: stages },
    run: { from: runId(manifest.run), to: runId(run), path: runOut },
  })
  const { policy } = run.recovery
  const left = manifest.run.recovery.policy.filter((name) => !policy.includes(name))
  if (left.length > 0) {
    terminal.line(`recovery.policy is without ${left.join()}: not with ${stages} body stages`)
  }
  terminal.line(
    `${target.location}: step ${manifest.step} with ${stages} body stages in place of ` +
      `${manifest.run.stages}, of run ${runId(run).slice(0, 12)} in ${runOut}`,
  )
}

/** Called before any work, so that nothing is left half done. @throws InputError */
async function refuseExisting(target: Store, step: number, runOut: string): Promise<void> {
  const name = `${stepFolder(step)}/${MANIFEST}`
  const taken = (await target.list(name)).length > 0
  if (!taken && !existsSync(runOut)) return
  const [what, option] = taken ? [`${target.location}/${name}`, '--out'] : [runOut, '--run-out']
  throw new InputError(`${what} exists. Choose another ${option}, or replace it with --force.`)
}

async function latest(source: Store, terminal: Terminal): Promise<Found> {
  const found = await findLatest(source, {
    depth: 'content',
    onRefused: (step, reason) => {
      terminal.event({ type: 'refused', step, reason })
      terminal.line(`step ${step} cannot be used: ${reason}`)
    },
  })
  if (found !== null) return found
  throw new InputError(
    `${source.location} holds no complete checkpoint. Name the folder that holds step-... folders.`,
  )
}

/** Saves the step as the stages of `run` would have. Only one stage is in memory at a time. */
async function rewrite(
  source: Store,
  manifest: Manifest,
  target: Store,
  run: Run,
): Promise<Manifest> {
  const { step } = manifest
  const config = stageConfig(run)
  for (let stage = 0; stage <= run.stages; stage++) {
    const { weights, optimizer, learningRateScale, gradientNorm } = await loadStage(
      source,
      manifest,
      config,
      stage,
    )
    await saveStage(target, {
      run,
      step,
      stage,
      replica: 0,
      replicas: 1,
      parameters: layoutOf(config, stage).parameters,
      tensors: { weights, ...optimizer },
      fields: { updates: optimizer.updates, learningRateScale, gradientNorm },
    })
  }
  return commitStep(target, { run, step, replicas: Array(run.stages + 1).fill(1) })
}

/** Turns a CheckpointError into an InputError, because the user named the checkpoint. */
async function asInput<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof CheckpointError)) throw error
    throw new InputError(`${error.message}. Take an earlier step by --step, or another copy.`, {
      cause: error,
    })
  }
}
