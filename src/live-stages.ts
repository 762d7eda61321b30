/** The stages of a running swarm as files on this machine, fetched over libp2p by a peer that does not join it. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock as clock } from '../protocols/clock.ts'
import { ProtocolError } from '../protocols/errors.ts'
import { layoutOf } from '../stages/parameters.ts'
import { InputError } from './errors.ts'
import { asGuest, type GuestOptions } from './guest.ts'
import { fetchWeights } from './live-weights.ts'
import { type Run, runId, stageConfig } from './run.ts'
import { writeStage } from './stage-file.ts'

export interface LiveStages {
  /** The step after which all of them are. */
  readonly step: number
  /** A file a stage, from the ends on. */
  readonly paths: readonly string[]
  /** Removes the files. */
  remove(): void
}

/**
 * Into a temporary folder, a stage in memory at a time.
 * @throws InputError if nobody can be reached, or no attempt had every stage at one step
 */
export async function fetchStages(
  run: Run,
  { addresses, dataDir }: Pick<GuestOptions, 'addresses' | 'dataDir'>,
): Promise<LiveStages> {
  const id = runId(run)
  const folder = mkdtempSync(join(tmpdir(), 'gensyn-live-'))
  const remove = () => rmSync(folder, { recursive: true, force: true })
  const paths: string[] = []
  try {
    const guest = { runId: id, addresses, dataDir, option: '--peer', clock }
    const step = await asGuest(guest, (network, contacts) =>
      fetchWeights({ network, clock, run, runId: id, contacts }, ({ index, step, weights }) => {
        const { parameters } = layoutOf(stageConfig(run), index)
        paths[index] = writeStage(folder, { parameters, weights }, { run: id, stage: index, step })
      }),
    )
    return { step, paths, remove }
  } catch (error) {
    remove()
    if (!(error instanceof ProtocolError)) throw error
    throw new InputError(
      `The weights cannot be taken from the running swarm: ${error.message}. Try again; once the run has ended, ` +
        'leave --peer out.',
      { cause: error },
    )
  }
}
