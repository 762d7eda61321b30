/** What `join --resume` starts from: the last complete step of a store, of which each peer reads its own stage only. */
import { ProtocolError } from '../../protocols/errors.ts'
import type { Origin } from '../../protocols/membership.ts'
import { InputError } from '../base/errors.ts'
import { CheckpointError } from '../checkpoint/error.ts'
import { type LoadedStage, loadStage } from '../checkpoint/load.ts'
import { type Manifest, originOf } from '../checkpoint/manifest.ts'
import { latestComplete, openStep } from '../checkpoint/steps.ts'
import type { Store } from '../checkpoint/store.ts'
import { type Run, stageConfig } from '../run/run.ts'

export interface Resume {
  /** What this peer starts the swarm from, if it founds it. */
  readonly origin: Origin
  /**
   * A stage of the run, whatever number of stages has saved it.
   * @param origin what the swarm was started from; another peer's store may have a later step by now
   * @throws InputError if it is not there, or damaged
   */
  load(origin: Origin, stage: number): Promise<LoadedStage>
}

export interface ResumeOptions {
  /** Undefined for the last complete one. */
  readonly step?: number | undefined
  /** Hears of steps that cannot be used, and of what else the user should know. */
  readonly notice: (message: string) => void
}

/** @throws InputError if there is no such step, or it is of another model */
export async function openResume(run: Run, store: Store, options: ResumeOptions): Promise<Resume> {
  const { notice } = options
  const manifest = await asInput(async () => {
    if (options.step !== undefined) return openStep(store, options.step)
    return latestComplete(store, {
      depth: 'lengths',
      onRefused: (step, reason) => notice(`step ${step} cannot be resumed from: ${reason}`),
    })
  })
  if (manifest === null) {
    throw new InputError(
      `${store.location} holds no complete checkpoint. Name the folder that holds step-... folders by --resume.`,
    )
  }
  checkFit(run, manifest, store)
  const others = differences(run, manifest.run)
  if (others.length > 0) {
    notice(
      `the checkpoint's run had other settings; from now on it is run.json's: ${others.join()}`,
    )
  }
  return resumeAt(run, store, originOf(manifest))
}

/** From a checkpoint that the swarm has agreed on. */
export function resumeAt(run: Run, store: Store, origin: Origin): Resume {
  return {
    origin,
    load: (origin, stage) =>
      asInput(async () => {
        const there = await openStep(store, origin.step)
        if (originOf(there).sha256 === origin.sha256) {
          return loadStage(store, there, stageConfig(run), stage)
        }
        throw new CheckpointError(
          `${store.location}: step ${origin.step} is not the one that the swarm was started from`,
        )
      }),
  }
}

/** What a swarm begins with that goes on from a checkpoint. @throws ProtocolError if this peer cannot read it */
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

/** Settings that decide what is computed, by the group that they stand in. */
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
