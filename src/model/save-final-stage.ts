/** Saves the final weights of a stage, whatever is wrong with the disk: to another place, or to the same place later. */
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Clock } from '../../protocols/clock.ts'
import type { AnyStage } from '../../stages/stage.ts'
import { InputError } from '../base/errors.ts'
import { TIMEOUTS } from '../base/limits.ts'
import { type StageLabel, saveStage } from './stage-file.ts'

export interface SaveOptions {
  /** Folder of the peer in the data directory. */
  readonly folder: string
  /** Folder for the case that `folder` cannot be written. Default: one in the system's folder for temporary files. */
  readonly elsewhere?: string
  readonly clock: Clock
  /** Tells the person at the terminal. */
  tell(message: string): void
}

/**
 * Writes the stage. While no place takes it, it stays in memory, and all places are tried again for a minute.
 * @returns the path
 * @throws InputError with path, size and reason if no place took it
 */
export async function saveFinalStage(
  stage: Pick<AnyStage, 'parameters' | 'weights'>,
  label: StageLabel,
  { folder, elsewhere = elsewhereFor(label), clock, tell }: SaveOptions,
): Promise<string> {
  const megabytes = Math.ceil(stage.weights.byteLength / 1e6)
  const what = `the final weights of stage ${label.stage} (${megabytes} MB, step ${label.step})`
  const until = clock.now() + TIMEOUTS.finalSaveMs
  for (let attempt = 1; ; attempt++) {
    let failure: Error
    try {
      return saveStage(folder, stage, label)
    } catch (error) {
      failure = error as Error
    }
    const problem = `${what} cannot be written to ${folder} (${failure.message})`
    try {
      const path = saveStage(elsewhere, stage, label)
      tell(
        `${problem}. They are in ${path}: move that file to ${folder} before you export the model.`,
      )
      return path
    } catch (error) {
      if (clock.now() >= until) {
        throw new InputError(
          `${problem}, nor to ${elsewhere} (${(error as Error).message}). They are lost with this process. The model needs this stage from a checkpoint, or from another holder.`,
        )
      }
    }
    if (attempt === 1) {
      const seconds = TIMEOUTS.finalSaveMs / 1000
      tell(
        `${problem}. They are kept in memory for ${seconds} s: free ${megabytes} MB on that disk.`,
      )
    }
    await clock.sleep(TIMEOUTS.finalSavePauseMs)
  }
}

function elsewhereFor({ run, stage }: StageLabel): string {
  return join(tmpdir(), `gensyn-${run.slice(0, 12)}-stage-${stage}-${process.pid}`)
}
