/** The processes of a demo: it starts them, follows the coordinator's journal, and kills holders of stages. */
import { join } from 'node:path'
import { type Clock, withDeadline } from '../../protocols/clock.ts'
import type { Entry } from '../base/journal.ts'
import { RunView } from '../node/view.ts'
import { type Run, runId } from '../run/run.ts'
import { type Child, Children } from './children.ts'
import type { DemoReport } from './demo-report.ts'
import { type KillRecord, type ProcessRecord, reportOf } from './report.ts'

/** Stages whose holders are killed, and the step after which they are killed. */
export interface Kill {
  readonly stages: readonly number[]
  readonly step: number
}

export interface DemoSwarmOptions {
  readonly run: Run
  /** Path of the manifest. */
  readonly runPath: string
  /** Folder for the data directory and the checkpoints. */
  readonly folder: string
  readonly spares: number
  /** Null for an undisturbed run. */
  readonly kill: Kill | null
  readonly clock: Clock
  /** Prints a line for people. */
  line(text: string): void
  /** Aborts when the user stops the demo. */
  readonly signal: AbortSignal
}

/** Deadline for the founder to listen, in milliseconds. */
const START_MS = 60_000
/** Deadline for the processes to end after the last step, in milliseconds. */
const END_MS = 20_000

interface Peer {
  readonly child: Child
  /** Peer id and address, both empty until the process has started. */
  id: string
  address: string
  /** Stage that the peer held last; null for a spare. */
  stage: number | null
}

export class DemoSwarm {
  readonly #options: DemoSwarmOptions
  readonly #children = new Children()
  readonly #peers: Peer[] = []
  readonly #live = new Set<Peer>()
  readonly #entries: Entry[] = []
  readonly #view: RunView
  /** Resolves with the founder's address. */
  readonly #founded = Promise.withResolvers<string>()
  /** Resolves with the failure of the run, or null, when the run is over. */
  readonly #over = Promise.withResolvers<string | null>()
  readonly #kills: KillRecord[] = []
  /** Peer id of the coordinator, whose journal is followed. */
  #coordinator = ''

  constructor(options: DemoSwarmOptions) {
    this.#options = options
    this.#view = new RunView(options.run.stages + 1)
  }

  /** Runs the swarm until its end. The report says whether the run failed. */
  async play(): Promise<DemoReport> {
    const { run, spares, line, clock, signal } = this.#options
    const peers = run.stages + 1 + spares
    try {
      line(`run ${runId(run).slice(0, 12)}: ${peers} processes, ${run.steps} steps`)
      this.#start([])
      const address = await withDeadline(
        { clock, timeoutMs: START_MS, signal },
        'the first process to listen',
        () => Promise.race([this.#founded.promise, this.#over.promise.then(failed)]),
      )
      for (let i = 1; i < peers; i++) this.#start(['--bootstrap', address])
      const stopped = Promise.withResolvers<never>()
      signal.addEventListener('abort', () => stopped.reject(signal.reason), { once: true })
      const failure = await Promise.race([this.#over.promise, stopped.promise])
      const exits = Promise.all(this.#peers.map(({ child }) => child.exited))
      await withDeadline({ clock, timeoutMs: END_MS, signal }, 'the processes to end', () => exits)
      return {
        format: 'gensyn-demo-report',
        version: 2,
        runId: runId(run),
        ...reportOf(this.#entries, run),
        processes: await Promise.all(this.#peers.map(recordOf)),
        kills: this.#kills,
        failure,
      }
    } finally {
      await this.#children.stop(clock)
    }
  }

  #start(more: readonly string[]): void {
    const { run, runPath, folder, line } = this.#options
    const saves = run.recovery.policy.includes('checkpoint')
    const args = [
      'join',
      ...['--run', runPath],
      ...['--data-dir', join(folder, '.gensyn')],
      ...['--threads', '1'],
      '--no-mdns',
      ...['--provider', 'cpu'],
      ...(saves ? ['--checkpoints', join(folder, 'checkpoints')] : []),
      ...more,
    ]
    const child = this.#children.start(
      args,
      (entry) => this.#onEntry(peer, entry),
      (text) => line(`  [${child.pid}] ${text}`),
    )
    const peer: Peer = { child, id: '', address: '', stage: null }
    this.#peers.push(peer)
    this.#live.add(peer)
    void child.exited.then((code) => this.#onExit(peer, code))
  }

  #onEntry(peer: Peer, entry: Entry): void {
    if (entry.type === 'started') {
      peer.id = entry.peer
      peer.address = entry.addresses[0]!
    }
    if (entry.type === 'founded') this.#founded.resolve(peer.address)
    const isElected = entry.type === 'elected' && entry.coordinator === entry.peer
    if (entry.type === 'founded' || isElected) this.#coordinator = entry.peer
    if (this.#coordinator === '' || entry.peer === this.#coordinator) this.#follow(entry)
  }

  #onExit(peer: Peer, code: number | NodeJS.Signals): void {
    const { pid } = peer.child
    if (code !== 0) this.#live.delete(peer)
    const wasKilled = this.#kills.some((kill) => kill.pid === pid)
    if (peer.id === this.#coordinator && !wasKilled) {
      this.#over.resolve(`the coordinator ended with ${code}`)
    } else if (this.#live.size <= this.#options.run.stages) {
      this.#over.resolve(`process ${pid} ended with ${code}, and no spare is left`)
    }
  }

  /** Handles an entry of the coordinator's journal. */
  #follow(entry: Entry): void {
    const { line, kill, run } = this.#options
    this.#entries.push(entry)
    // The paths of saved weights are not shown: their folder is usually removed.
    if (entry.type !== 'saved') for (const text of this.#view.show(entry)) line(text)
    if (entry.type === 'held') {
      const holder = this.#peers.find(({ id }) => id === entry.by)
      if (holder !== undefined) holder.stage = entry.stage
    }
    if (entry.type === 'finished') this.#over.resolve(entry.failure)
    // The kill comes once, also if the step is made again after a rollback.
    if (kill !== null && this.#kills.length === 0 && isKillTime(entry, kill, run)) {
      this.#killHolders(kill)
    }
  }

  #killHolders({ stages, step }: Kill): void {
    for (const stage of stages) {
      const { child, id } = this.#peers.find((peer) => peer.stage === stage)!
      this.#options.line(`  kill -9 ${child.pid}, the holder of stage ${stage}`)
      this.#kills.push({ signal: 'SIGKILL', pid: child.pid, peer: id, stage, step })
      this.#children.signal(child.pid, 'SIGKILL')
    }
  }
}

/** Tells whether the kill comes after this entry. If the step has an evaluation, the kill waits for its result. */
function isKillTime(entry: Entry, { step }: Kill, run: Run): boolean {
  const isEvaluated = step % run.evaluation.everySteps === 0
  return entry.type === (isEvaluated ? 'evaluation' : 'step') && entry.step === step
}

async function recordOf({ child, id, stage }: Peer): Promise<ProcessRecord> {
  const role = stage === null ? 'spare' : stage === 0 ? 'ends' : 'body'
  return { pid: child.pid, peer: id, role, stage, exit: await child.exited }
}

function failed(failure: string | null): never {
  throw new Error(failure ?? 'the coordinator ended before it listened')
}
