/**
 * The main job on one machine: a whole swarm as separate processes on loopback, one of them killed with SIGKILL, its
 * stage rebuilt by a spare from its neighbours, training that goes on. All figures come from the coordinator's journal.
 */
import { accessSync, constants, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { type Clock, withDeadline } from '../../protocols/clock.ts'
import { replaceFile } from '../base/atomic-file.ts'
import { InputError, systemCode } from '../base/errors.ts'
import type { Entry } from '../base/journal.ts'
import { originOf, RunView } from '../node/view.ts'
import { policyOf } from '../recovery/index.ts'
import { type Run, runId } from '../run/run.ts'
import { type Child, Children } from './children.ts'
import { type InitSetting, initRun } from './init.ts'
import { type KillRecord, type ProcessRecord, type RunReport, reportOf } from './report.ts'
import { stagesToKill } from './stages-to-kill.ts'

export interface DemoOptions {
  /** Settings of the run, as `init` takes them. */
  readonly settings: Partial<Record<InitSetting, string>>
  /** A text file to train on; undefined for the bundled corpus. */
  readonly data: string | undefined
  /** Peers beyond one a stage; undefined: as many as are killed, at least one. */
  readonly spares: number | undefined
  /** The strategy that is tried first; undefined leaves it to the settings. */
  readonly recovery?: string | undefined
  /** The stages whose holders are killed, as `stagesToKill` reads them, and the step after which (undefined: half-way). */
  readonly killStage: string
  readonly killStep: number | undefined
  /** False for an undisturbed run. */
  readonly kill: boolean
  readonly reportPath: string
  /** Where the run stays, in a folder that is not there yet or empty; undefined throws it away. */
  readonly keep?: string | undefined
}

export interface DemoIo {
  readonly clock: Clock
  /** For people: the live lines and the summary. */
  line(text: string): void
  /** Ctrl-C. */
  readonly signal: AbortSignal
}

export interface DemoReport extends RunReport {
  readonly format: 'gensyn-demo-report'
  readonly version: 2
  readonly runId: string
  readonly processes: readonly ProcessRecord[]
  readonly kills: readonly KillRecord[]
  readonly failure: string | null
}

/** The founder to be reachable. Building the sessions and joining is waited for by the founder itself. */
const START_MS = 60_000
/** Processes to end by themselves after the last step. */
const END_MS = 20_000

interface Peer {
  readonly child: Child
  peer: string
  address: string
  stage: number | null
}

export async function demo(options: DemoOptions, io: DemoIo): Promise<DemoReport> {
  checkFolder(options.reportPath)
  const folder = options.keep === undefined ? temporaryFolder() : keptFolder(options.keep)
  try {
    const runPath = join(folder, 'run.json')
    const { settings: given, recovery, data } = options
    const policy = recovery === undefined ? {} : { policy: policyOf(recovery).join() }
    const settings = { ...given, ...policy }
    const run = await initRun({ out: runPath, data, force: false, settings })
    return await runSwarm(run, folder, runPath, options, io)
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
    throw new InputError(`--keep ${path} cannot be used (${systemCode(error)}). Choose another.`)
  }
  throw new InputError(`--keep ${path} has something in it. Choose a folder that is empty.`)
}

interface Kill {
  readonly stages: readonly number[]
  readonly step: number
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
      `--spares ${spares}: nobody could take the stage of a killed peer; use --spares ${stages.length}, or --no-kill.`,
    )
  }
  if (!(step >= 1 && step < run.steps)) {
    throw new InputError(
      `--kill-step ${step}: it must lie in 1..${run.steps - 1}, before the last.`,
    )
  }
  return { stages, step }
}

/** True for the entry after which the kill comes: the held-out loss of that step is measured first. */
function isKillTime(entry: Entry, { step }: Kill, run: Run): boolean {
  const measured = step % run.evaluation.everySteps === 0
  return entry.type === (measured ? 'evaluation' : 'step') && entry.step === step
}

async function runSwarm(
  run: Run,
  folder: string,
  runPath: string,
  options: DemoOptions,
  { clock, line, signal }: DemoIo,
): Promise<DemoReport> {
  const kill = killOf(run, options)
  const spares = options.spares ?? Math.max(1, kill?.stages.length ?? 0)
  const children = new Children()
  const peers: Peer[] = []
  const live = new Set<Peer>()
  const entries: Entry[] = []
  const view = new RunView(run.stages + 1)
  const founderReady = Promise.withResolvers<string>()
  const over = Promise.withResolvers<string | null>()
  const kills: KillRecord[] = []
  /** Whose journal tells of the swarm. */
  let coordinator = ''

  const saves = run.recovery.policy.includes('checkpoint')
  const checkpoints = saves ? ['--checkpoints', join(folder, 'checkpoints')] : []

  const start = (args: readonly string[]) => {
    const child = children.start(
      [
        'join',
        '--run',
        runPath,
        '--data-dir',
        join(folder, '.gensyn'),
        '--threads',
        '1',
        '--no-mdns',
        '--provider',
        'cpu',
        ...checkpoints,
        ...args,
      ],
      (entry) => {
        if (entry.type === 'started') {
          peer.peer = entry.peer
          peer.address = entry.addresses[0]!
        }
        if (entry.type === 'founded') founderReady.resolve(peer.address)
        const isElected = entry.type === 'elected' && entry.coordinator === entry.peer
        if (entry.type === 'founded' || isElected) coordinator = entry.peer
        if (coordinator === '' || entry.peer === coordinator) follow(entry)
      },
      (text) => line(`  [${child.pid}] ${text}`),
    )
    const peer: Peer = { child, peer: '', address: '', stage: null }
    peers.push(peer)
    live.add(peer)
    void child.exited.then((code) => {
      if (code !== 0) live.delete(peer)
      const wasKilled = kills.some(({ pid }) => pid === child.pid)
      if (peer.peer === coordinator && !wasKilled) {
        over.resolve(`the coordinator ended with ${code}`)
      } else if (live.size <= run.stages)
        over.resolve(`process ${child.pid} ended with ${code}, and no spare is left`)
    })
  }

  const follow = (entry: Entry) => {
    entries.push(entry)
    // Of the weights, which mostly go with the folder, one line at the end says all.
    if (entry.type !== 'saved') for (const text of view.show(entry)) line(text)
    if (entry.type === 'held') {
      const holder = peers.find(({ peer }) => peer === entry.by)
      if (holder !== undefined) holder.stage = entry.stage
    }
    if (entry.type === 'finished') over.resolve(entry.failure)
    // A step that is made again, after the swarm went back to a checkpoint, is no time for it.
    if (kill !== null && kills.length === 0 && isKillTime(entry, kill, run)) {
      for (const stage of kill.stages) {
        const { child, peer } = peers.find((each) => each.stage === stage)!
        line(`  kill -9 ${child.pid}, the holder of stage ${stage}`)
        kills.push({ signal: 'SIGKILL', pid: child.pid, peer, stage, step: kill.step })
        children.signal(child.pid, 'SIGKILL')
      }
    }
  }

  try {
    line(`run ${runId(run).slice(0, 12)}: ${run.stages + 1 + spares} processes, ${run.steps} steps`)
    start([])
    const address = await withDeadline(
      { clock, timeoutMs: START_MS, signal },
      'the first process to listen',
      () => Promise.race([founderReady.promise, over.promise.then(failed)]),
    )
    for (let i = 0; i < run.stages + spares; i++) start(['--bootstrap', address])
    const stopped = Promise.withResolvers<never>()
    signal.addEventListener('abort', () => stopped.reject(signal.reason), { once: true })
    const failure = await Promise.race([over.promise, stopped.promise])
    const exits = Promise.all(peers.map(({ child }) => child.exited))
    await withDeadline({ clock, timeoutMs: END_MS, signal }, 'the processes to end', () => exits)
    const report: DemoReport = {
      format: 'gensyn-demo-report',
      version: 2,
      runId: runId(run),
      ...reportOf(entries, run),
      processes: await Promise.all(
        peers.map(async ({ child, peer, stage }) => ({
          pid: child.pid,
          peer,
          role:
            stage === null
              ? ('spare' as const)
              : stage === 0
                ? ('ends' as const)
                : ('body' as const),
          stage,
          exit: await child.exited,
        })),
      ),
      kills,
      failure,
    }
    replaceFile(options.reportPath, `${JSON.stringify(report, null, 2)}\n`)
    return report
  } finally {
    await children.stop(clock)
  }
}

function failed(failure: string | null): never {
  throw new Error(failure ?? 'the coordinator ended before it listened')
}

/** Why the demo did not show what it is there to show; null if it did. */
export function failureOf({
  failure,
  committedOnce,
  kills,
  recoveries,
}: DemoReport): string | null {
  if (failure !== null) return failure
  if (!committedOnce) return 'not every step was committed exactly once: see the report'
  const left = kills.filter(({ stage }) => recoveries.every((each) => each.stage !== stage))
  if (left.length > 0) return `stage ${left[0]!.stage} was not rebuilt: see the report`
  return null
}

/** The figures that matter, for people. */
export function summaryOf(report: DemoReport): string[] {
  const lines: [string, string][] = [
    [
      'steps',
      `${report.steps}, each committed ${report.committedOnce ? 'exactly once' : 'NOT exactly once'}`,
    ],
    ['training loss', `${loss(report.losses[0])} first, ${loss(report.losses.at(-1))} last`],
    [
      'held-out loss',
      `${loss(report.evaluations[0])} first, ${loss(report.evaluations.at(-1))} last, in nats a byte`,
    ],
    [
      'speed',
      `${Math.round(report.tokensPerSecond)} tokens/s over ${report.processes.length} processes`,
    ],
  ]
  for (const kill of report.kills) {
    lines.push(['killed', `stage ${kill.stage}, process ${kill.pid}, after step ${kill.step}`])
  }
  for (const recovery of report.recoveries) {
    lines.push(
      ...recovery.skipped.map(({ strategy, reason }): [string, string] => [
        'passed over',
        `${strategy} for stage ${recovery.stage}: ${reason}`,
      ]),
      [
        'recovered',
        `stage ${recovery.stage} by ${recovery.strategy}${originOf(recovery)}: ${recovery.bytes} bytes, held again after ${recovery.secondsSinceLoss?.toFixed(2)} s`,
      ],
      [
        'loss',
        `${recovery.lossBefore?.toFixed(4)} before, ${recovery.lossAfter?.toFixed(4)} in the first step after, ${recovery.stepsUntilBack === null ? 'not back by the end' : `back in ${recovery.stepsUntilBack} steps`}`,
      ],
    )
  }
  return lines.map(([name, value]) => `${name.padEnd(14)}${value}`)
}

function loss(entry: { loss: number } | undefined): string {
  return entry === undefined ? 'none' : entry.loss.toFixed(4)
}
