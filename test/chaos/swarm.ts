/**
 * The processes of one round on loopback, which can be frozen, killed and started again, and their journals. Signals
 * go only to processes that this object started.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock, withDeadline } from '../../protocols/clock.ts'
import type { Member } from '../../protocols/membership.ts'
import type { Entry } from '../../src/base/journal.ts'
import { Children } from '../../src/cli/children.ts'
import { initRun } from '../../src/cli/init.ts'
import type { Run } from '../../src/run/run.ts'
import { sampleText } from '../fixtures/text.ts'

export interface Process {
  /** Number of the process in the order of starting, from 0. */
  readonly number: number
  readonly pid: number
  /** Peer id; '' until the process has written its first entry. */
  peer: string
  state: 'running' | 'frozen' | 'ended'
  /** True if the last entry of the process about this says that it is in the run. */
  joined: boolean
  readonly exited: Promise<number | NodeJS.Signals>
}

/**
 * A model with cheap steps, and with so many microbatches that the restart of a process, about two seconds, takes
 * about ten steps. A hundred steps are enough for the faults of a round.
 */
const SETTINGS = {
  stages: '3',
  layers: '3',
  hidden: '32',
  heads: '2',
  context: '32',
  batch: '2',
  microbatches: '12',
  evaluateEvery: '1000',
}

export interface SwarmSettings {
  /** Number of processes. */
  readonly size: number
  readonly steps: number
  /** Settings of the run that differ from those of a round. */
  readonly run?: Partial<typeof SETTINGS>
  /** Further arguments of a process. */
  argsOf?(number: number): readonly string[]
}

export function settingsFor(steps: number) {
  return { ...SETTINGS, steps: String(steps) }
}

/** Deadline for any wait in a round, in milliseconds. */
const DEADLINE_MS = 90_000

export class Swarm {
  readonly entries: Entry[] = []
  readonly messages: string[] = []
  readonly processes: Process[] = []
  readonly #folder: string
  readonly #settings: SwarmSettings
  readonly #children = new Children()
  readonly #watchers = new Set<(entry: Entry | null) => void>()
  #members: readonly Member[] = []
  #epoch = -1
  /** Last step that a coordinator reported. */
  step = 0
  coordinator = ''
  run!: Run

  private constructor(folder: string, settings: SwarmSettings) {
    this.#folder = folder
    this.#settings = settings
  }

  static async start(settings: SwarmSettings): Promise<Swarm> {
    const { size, steps, run } = settings
    const swarm = new Swarm(mkdtempSync(join(tmpdir(), 'gensyn-chaos-')), settings)
    const data = join(swarm.#folder, 'text.txt')
    writeFileSync(data, sampleText())
    const out = swarm.runPath
    swarm.run = await initRun({
      out,
      data,
      force: false,
      settings: { ...settingsFor(steps), ...run },
    })
    swarm.launch()
    await swarm.until('the first process to found the run', () => swarm.coordinator !== '')
    for (let i = 1; i < size; i++) swarm.launch()
    return swarm
  }

  get runPath(): string {
    return join(this.#folder, 'run.json')
  }

  /** Starts a process, which claims the first free slot, such as the slot of a killed process. */
  launch(): Process {
    const number = this.processes.length
    const more = this.#settings.argsOf?.(number) ?? []
    const files = ['--run', this.runPath, '--data-dir', join(this.#folder, 'state')]
    const args = ['join', ...files, '--threads', '1', '--no-mdns', '--provider', 'cpu', ...more]
    const child = this.#children.start(
      args,
      (entry) => this.#onEntry(started, entry),
      (message) => this.messages.push(`[${child.pid}] ${message}`),
    )
    const { pid, exited } = child
    const started: Process = { number, pid, exited, peer: '', state: 'running', joined: false }
    this.processes.push(started)
    void exited.then(() => {
      started.state = 'ended'
      this.#wake(null)
    })
    return started
  }

  signal(process: Process, signal: NodeJS.Signals): void {
    if (process.state === 'ended') return
    if (signal === 'SIGKILL') process.state = 'ended'
    if (signal === 'SIGSTOP') process.state = 'frozen'
    if (signal === 'SIGCONT') process.state = 'running'
    this.#children.signal(process.pid, signal)
  }

  /** Processes that can answer. */
  get running(): Process[] {
    return this.processes.filter(({ state }) => state === 'running')
  }

  processOf(peer: string): Process | undefined {
    return this.running.find((process) => process.peer === peer && process.joined)
  }

  /** Stage of a process; null if it holds no stage or is not running. */
  stageOf({ peer }: Process): number | null {
    const member = this.#members.find((each) => each.peer === peer)
    return this.processOf(peer) === undefined ? null : (member?.stage ?? null)
  }

  /** Running holders, in the order of the roster. */
  get holders(): Process[] {
    return this.#members.flatMap(({ peer, stage, ready }) =>
      stage === null || !ready ? [] : (this.processOf(peer) ?? []),
    )
  }

  holdersOf(stage: number): Process[] {
    return this.holders.filter((process) => this.stageOf(process) === stage)
  }

  /** Number of members that may be lost now without the loss of the majority. */
  get dispensable(): number {
    const members = this.#members
    const gone = members.filter(({ peer }) => this.processOf(peer) === undefined).length
    return Math.floor((members.length - 1) / 2) - gone
  }

  /** True if every live process is running and in the run, and every stage has a holder. */
  get whole(): boolean {
    const named = new Set(this.#members.map(({ peer }) => peer))
    const stages = new Set(this.holders.map((process) => this.stageOf(process)))
    const present = this.processes.filter(({ state }) => state !== 'ended')
    return (
      present.every(
        ({ state, joined, peer }) => state === 'running' && joined && named.has(peer),
      ) && stages.size === this.run.stages + 1
    )
  }

  /** True after the last step. */
  get over(): boolean {
    return this.step >= this.run.steps
  }

  /** Resolves when `test` gives true. It is called after every journal entry and every end of a process. */
  async until(what: string, test: () => boolean): Promise<void> {
    if (test()) return
    await this.#watch(what, () => test())
  }

  /** Resolves with the next entry for which `test` gives true. */
  async next(what: string, test: (entry: Entry) => boolean): Promise<Entry> {
    let found: Entry | null = null
    await this.#watch(what, (entry) => {
      if (entry !== null && test(entry)) found = entry
      return found !== null
    })
    return found!
  }

  /** True if the last roster names the process. */
  isMember({ peer, joined }: Process): boolean {
    return joined && this.#members.some((member) => member.peer === peer)
  }

  /** Waits for the end of all members. Gives the members that did not end by themselves. */
  async end(): Promise<Process[]> {
    const left = () => this.running.filter((process) => this.isMember(process))
    await this.until('all members to end', () => left().length === 0).catch(() => {})
    return left()
  }

  async close(): Promise<void> {
    for (const process of this.processes) {
      if (process.state === 'frozen') this.signal(process, 'SIGCONT')
    }
    await this.#children.stop(systemClock)
    rmSync(this.#folder, { recursive: true, force: true })
  }

  async #watch(what: string, test: (entry: Entry | null) => boolean): Promise<void> {
    const seen = Promise.withResolvers<void>()
    const watcher = (entry: Entry | null) => {
      if (test(entry)) seen.resolve()
    }
    this.#watchers.add(watcher)
    try {
      const deadline = { clock: systemClock, timeoutMs: DEADLINE_MS }
      await withDeadline(deadline, what, () => seen.promise)
    } finally {
      this.#watchers.delete(watcher)
    }
  }

  #onEntry(process: Process, entry: Entry): void {
    this.entries.push(entry)
    switch (entry.type) {
      case 'started':
        process.peer = entry.peer
        break
      case 'founded':
        process.joined = true
        this.coordinator = entry.peer
        break
      case 'joined':
        process.joined = true
        break
      case 'dropped':
        process.joined = false
        break
      case 'elected':
        this.coordinator = entry.coordinator
        break
      case 'roster':
        if (entry.roster.epoch < this.#epoch) break
        this.#epoch = entry.roster.epoch
        this.#members = entry.roster.members
        break
      case 'step':
        this.step = Math.max(this.step, entry.step)
        break
    }
    this.#wake(entry)
  }

  #wake(entry: Entry | null): void {
    for (const watcher of [...this.#watchers]) watcher(entry)
  }
}
