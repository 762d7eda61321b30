/** Runs a live swarm as `demo` does, one process a stage on loopback, and returns its coordinator's journal. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { peerFolders } from '../../../src/base/data-dir.ts'
import type { Entry } from '../../../src/base/journal.ts'
import { readJournal } from '../../../src/base/journal-file.ts'
import { type DemoIo, demo } from '../../../src/cli/demo.ts'
import { failureOf } from '../../../src/cli/demo-report.ts'
import type { InitOptions } from '../../../src/cli/init.ts'
import { type Run, readRun, runId } from '../../../src/run/run.ts'

export interface LiveOptions {
  readonly settings: InitOptions['settings']
  /** Stage whose holder is killed right after a step, with one spare in the swarm; null for no kill. */
  readonly kill: { readonly stage: number; readonly step: number } | null
}

export interface Live {
  readonly run: Run
  readonly entries: readonly Entry[]
}

/**
 * Runs the swarm to its end in a temporary folder.
 * @throws Error if the swarm failed
 */
export async function playLive({ settings, kill }: LiveOptions, io: DemoIo): Promise<Live> {
  const folder = mkdtempSync(join(tmpdir(), 'gensyn-calibration-'))
  try {
    const kept = join(folder, 'run')
    const report = await demo(
      {
        settings,
        data: undefined,
        spares: kill === null ? 0 : 1,
        kill: kill !== null,
        killStage: String(kill?.stage),
        killStep: kill?.step,
        reportPath: join(folder, 'report.json'),
        keep: kept,
      },
      io,
    )
    const failure = failureOf(report)
    if (failure !== null) throw new Error(failure)
    const run = readRun(join(kept, 'run.json'))
    const journals = peerFolders(join(kept, '.gensyn'), runId(run)).map(readJournal)
    const founder = journals.find((entries) => entries.some(({ type }) => type === 'founded'))
    return { run, entries: founder! }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
