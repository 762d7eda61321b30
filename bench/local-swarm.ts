/** Runs a swarm of separate processes on loopback, as `demo` does, and measures the resources of each step. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock, withDeadline } from '../protocols/clock.ts'
import { median } from '../sim/lab/statistics.ts'
import type { Entry } from '../src/base/journal.ts'
import { Children } from '../src/cli/children.ts'
import { type Run, writeRun } from '../src/run/run.ts'
import { COUNTS_FOLDER } from './count-sockets.ts'
import { type CpuSeconds, cpuSeconds } from './cpu-time.ts'

/** Deadline of a run, in milliseconds. */
const RUN_MS = 300_000

export interface SwarmFigures {
  readonly processes: number
  readonly tokensPerSecond: number
  /** Processor time of a step, all processes together. */
  readonly cpuSeconds: CpuSeconds
  /** Bytes that all processes wrote to their sockets, for each microbatch. */
  readonly bytesPerMicrobatch: number
}

type Step = Extract<Entry, { type: 'step' }>

/**
 * Runs all steps with one process for each stage.
 * @param warmUp steps that do not count
 * @throws Error if the run fails
 */
export async function localSwarm(run: Run, warmUp: number): Promise<SwarmFigures> {
  const folder = mkdtempSync(join(tmpdir(), 'gensyn-bench-'))
  process.env[COUNTS_FOLDER] = folder
  const counter = new URL('count-sockets.ts', import.meta.url)
  const before = process.env.NODE_OPTIONS
  process.env.NODE_OPTIONS = `${before ?? ''} --import=${counter}`
  const children = new Children()
  try {
    return await runSwarm(run, warmUp, folder, children)
  } finally {
    await children.stop(systemClock)
    if (before === undefined) delete process.env.NODE_OPTIONS
    else process.env.NODE_OPTIONS = before
    rmSync(folder, { recursive: true, force: true })
  }
}

async function runSwarm(
  run: Run,
  warmUp: number,
  folder: string,
  children: Children,
): Promise<SwarmFigures> {
  const runPath = join(folder, 'run.json')
  writeRun(runPath, run, { force: false })
  const pids: number[] = []
  const steps: Step[] = []
  const cpu: CpuSeconds[] = []
  const founded = Promise.withResolvers<string>()
  const over = Promise.withResolvers<string | null>()
  const sample = () => {
    cpu.push(pids.map(cpuSeconds).reduce(sum))
    for (const pid of pids) children.signal(pid, 'SIGUSR2')
  }
  let address = ''
  const follow = (entry: Entry) => {
    if (entry.type === 'started') address = entry.addresses[0]!
    if (entry.type === 'founded') founded.resolve(address)
    if (entry.type === 'finished') over.resolve(entry.failure)
    if (entry.type !== 'step') return
    steps.push(entry)
    // No sample after the last step, when the processes end.
    if (entry.step === warmUp || entry.step === run.steps - 1) sample()
  }
  const start = (args: readonly string[], onEntry: (entry: Entry) => void) => {
    const common = ['--run', runPath, '--data-dir', join(folder, 'state'), '--threads', '1']
    const all = ['join', ...common, '--no-mdns', '--provider', 'cpu', ...args]
    pids.push(children.start(all, onEntry, (text) => over.resolve(text)).pid)
  }
  start([], follow)
  const failed = over.promise.then((failure) => {
    throw new Error(failure ?? 'the swarm ended before it began')
  })
  const bootstrap = await Promise.race([founded.promise, failed])
  failed.catch(() => {})
  for (let stage = 1; stage <= run.stages; stage++) start(['--bootstrap', bootstrap], () => {})
  const failure = await withDeadline(
    { clock: systemClock, timeoutMs: RUN_MS },
    'the swarm to make its steps',
    () => over.promise,
  )
  if (failure !== null) throw new Error(failure)

  return figuresOf({ run, warmUp, folder, pids, steps, cpu })
}

interface Samples {
  readonly run: Run
  readonly warmUp: number
  readonly folder: string
  readonly pids: readonly number[]
  readonly steps: readonly Step[]
  /** Processor time of all processes after the warm-up, and before the last step. */
  readonly cpu: readonly CpuSeconds[]
}

function figuresOf({ run, warmUp, folder, pids, steps, cpu }: Samples): SwarmFigures {
  const counted = pids.map((pid) =>
    readFileSync(join(folder, String(pid)), 'utf8')
      .trim()
      .split('\n')
      .map(Number),
  )
  const bytes = counted.reduce((total, counts) => total + counts[1]! - counts[0]!, 0)
  const between = run.steps - 1 - warmUp
  const perStep = (name: keyof CpuSeconds) => (cpu[1]![name] - cpu[0]![name]) / between
  const measured = steps.slice(warmUp)
  // From the journal entry of a step to the next entry, so that the time between steps counts.
  const seconds = measured.slice(1).map(({ at }, i) => (at - measured[i]!.at) / 1000)
  return {
    processes: pids.length,
    tokensPerSecond: measured[0]!.tokens / median(seconds),
    cpuSeconds: { main: perStep('main'), stage: perStep('stage'), helpers: perStep('helpers') },
    bytesPerMicrobatch: bytes / between / run.microbatches,
  }
}

function sum(a: CpuSeconds, b: CpuSeconds): CpuSeconds {
  return { main: a.main + b.main, stage: a.stage + b.stage, helpers: a.helpers + b.helpers }
}
