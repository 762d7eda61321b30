/**
 * `gensyn-node demo`: a whole swarm as separate processes on loopback. It kills holders of stages with SIGKILL, and shows
 * how spares rebuild the stages while training continues.
 */
import { accessSync, constants, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { replaceFile } from '../base/atomic-file.ts'
import { InputError, systemCode } from '../base/errors.ts'
import { policyOf } from '../recovery/index.ts'
import type { Run } from '../run/run.ts'
import type { DemoReport } from './demo-report.ts'
import { DemoSwarm, type DemoSwarmOptions, type Kill } from './demo-swarm.ts'
import { type InitSetting, initRun } from './init.ts'
import { stagesToKill } from './stages-to-kill.ts'

export interface DemoOptions {
  /** Settings of the run, as `init` takes them. */
  readonly settings: Partial<Record<InitSetting, string>>
  /** Text file to train on; undefined for the bundled corpus. */
  readonly data: string | undefined
  /** Number of peers beyond one for each stage; undefined for the number of killed peers, and at least one. */
  readonly spares: number | undefined
  /** Strategy that is tried first; undefined for the policy of the settings. */
  readonly recovery?: string | undefined
  /** Stages whose holders are killed, in the words of `stagesToKill`. */
  readonly killStage: string
  /** Step after which they are killed; undefined for half of the steps. */
  readonly killStep: number | undefined
  /** False for an undisturbed run. */
  readonly kill: boolean
  readonly reportPath: string
  /** New or empty folder that keeps the run; undefined for a temporary folder. */
  readonly keep?: string | undefined
}

export type DemoIo = Pick<DemoSwarmOptions, 'clock' | 'line' | 'signal'>

/**
 * Plays the demo, and writes the report.
 * @throws InputError for options that do not fit the run, before a process starts
 */
export async function demo(options: DemoOptions, io: DemoIo): Promise<DemoReport> {
  checkFolder(options.reportPath)
  const folder = options.keep === undefined ? temporaryFolder() : keptFolder(options.keep)
  try {
    const runPath = join(folder, 'run.json')
    const { recovery, data } = options
    const policy = recovery === undefined ? {} : { policy: policyOf(recovery).join() }
    const settings = { ...options.settings, ...policy }
    const run = await initRun({ out: runPath, data, force: false, settings })
    const kill = killOf(run, options)
    const spares = options.spares ?? Math.max(1, kill?.stages.length ?? 0)
    const report = await new DemoSwarm({ run, runPath, folder, spares, kill, ...io }).play()
    replaceFile(options.reportPath, `${JSON.stringify(report, null, 2)}\n`)
    return report
  } finally {
    if (options.keep === undefined) rmSync(folder, { recursive: true, force: true })
  }
}

function temporaryFolder(): string {
  return mkdtempSync(join(tmpdir(), 'gensyn-demo-'))
}

function keptFolder(path: string): string {
  try {
    mkdirSync(path, { recursive: true })
    if (readdirSync(path).length === 0) return resolve(path)
  } catch (error) {
    throw new InputError(
      `--keep ${path} cannot be used (${systemCode(error)}). Choose another folder.`,
    )
  }
  throw new InputError(`--keep ${path} is not empty. Choose an empty folder.`)
}

function checkFolder(path: string): void {
  try {
    accessSync(dirname(resolve(path)), constants.W_OK)
  } catch (error) {
    throw new InputError(
      `--report ${path}: its folder cannot be written to (${systemCode(error)}).`,
    )
  }
}

function killOf(run: Run, { kill, killStage, killStep, spares }: DemoOptions): Kill | null {
  if (!kill) return null
  const stages = stagesToKill(killStage, run.stages)
  const step = killStep ?? Math.floor(run.steps / 2)
  if (spares !== undefined && spares < stages.length) {
    throw new InputError(
      `--spares ${spares}: no spare could take the stage of a killed peer. Use --spares ${stages.length}, or --no-kill.`,
    )
  }
  if (!(step >= 1 && step < run.steps)) {
    throw new InputError(
      `--kill-step ${step}: it must be from 1 to ${run.steps - 1}, before the last step.`,
    )
  }
  return { stages, step }
}
