/** The checkpoint that `join --resume` starts a run from. Each peer reads only its own stage of it. */
import { ProtocolError } from '../../protocols/errors.ts'
import type { Origin } from '../../protocols/membership.ts'
import { InputError } from '../base/errors.ts'
import { CheckpointError } from '../checkpoint/error.ts'
import { findLatest, findStep } from '../checkpoint/find-step.ts'
import { type LoadedStage, loadStage } from '../checkpoint/load.ts'
import { type Manifest, originOf } from '../checkpoint/manifest.ts'
import type { Store } from '../checkpoint/store.ts'
import { type Run, stageConfig } from '../run/run.ts'

export interface Resume {
  /** Names the checkpoint. The roster has it if this peer founds the run. */
  readonly origin: Origin
  /**
   * Loads a stage of the run. The checkpoint may have been saved with another number of stages.
   * @param origin the checkpoint that the run was started from; this peer's store may have a later one by now
   * @throws InputError if the checkpoint is missing or damaged
   */
  load(origin: Origin, stage: number): Promise<LoadedStage>
}

export interface ResumeOptions {
  /** The step to resume from; undefined for the last complete one. */
  readonly step?: number | undefined
  /** Called with each message for the user, such as a step that cannot be used. */
  readonly notice: (message: string) => void
}

/** Opens a step of a store. @throws InputError if there is no such step, or it does not fit the run */
export async function openResume(run: Run, store: Store, options: ResumeOptions): Promise<Resume> {
  const { notice } = options
  const found = await asInput(async () => {
    if (options.step !== undefined) return findStep(store, options.step)
    return findLatest(store, {
      depth: 'lengths',
      onRefused: (step, reason) => notice(`step ${step} cannot be resumed from: ${reason}`),
    })
  })
  if (found === null) {
    throw new InputError(
      `${store.location} holds no complete checkpoint. Name the folder that holds step-... folders by --resume.`,
    )
  }
  const { manifest } = found
  checkFit(run, manifest, store)
  const others = differences(run, manifest.run)
  if (others.length > 0) {
    notice(
      `the checkpoint's run had other settings; from now on it is run.json's: ${others.join()}`,
    )
  }
  return resumeAt(run, store, originOf(manifest))
}

/** Opens the checkpoint that the roster names. Reads nothing before a stage is loaded. */
export function resumeAt(run: Run, store: Store, origin: Origin): Resume {
  return {
    origin,
    load: (origin, stage) =>
      asInput(async () => {
        const { manifest, place } = await findStep(store, origin.step, origin)
        return loadStage(place, manifest, stageConfig(run), stage)
      }),
  }
}

/** Loads a stage of the checkpoint that the run was started from. @throws ProtocolError REFUSED without --resume */
export async function loadResumed(
  resume: Resume | undefined,
  origin: Origin | null,
  stage: number,
): Promise<LoadedStage> {
  if (origin !== null && resume !== undefined) return resume.load(origin, stage)
  throw new ProtocolError(
    'REFUSED',
    'the run goes on from a checkpoint: start this peer with --resume, too',
  )
}

function checkFit(run: Run, { run: saved, step }: Manifest, { location }: Store): void {
  const refuse = (what: string): never => {
    throw new InputError(
      `Step ${step} of ${location} does not fit the run: ${what}. Take the run.json that it was saved with; ` +
        '`gensyn-node reshard` writes one for another number of stages.',
    )
  }
  for (const [key, value] of Object.entries(saved.model)) {
    const own = run.model[key as keyof Run['model']]
    if (JSON.stringify(own) === JSON.stringify(value)) continue
    refuse(`its model.${key} is ${JSON.stringify(value)}, not ${JSON.stringify(own)}`)
  }
  if (saved.optimizer.kind !== run.optimizer.kind) {
    refuse(`its optimizer is ${saved.optimizer.kind}, not ${run.optimizer.kind}`)
  }
  if (step >= run.steps) refuse(`the run ends after ${run.steps} steps`)
}

/** Top-level keys of the manifest that influence training and differ between two runs. */
function differences(run: Run, saved: Run): string[] {
  const keys = ['seed', 'microbatches', 'microbatch', 'optimizer', 'data', 'steps'] as const
  return keys.filter((key) => JSON.stringify(run[key]) !== JSON.stringify(saved[key]))
}

async function asInput<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof CheckpointError)) throw error
    throw new InputError(
      `${error.message}. Take an earlier step by --resume-step, or another copy.`,
      {
        cause: error,
      },
    )
  }
}
