/**
 * The processes of one case. Each is a machine of its own: a data directory and an address for itself. Waits end with an entry of a
 * journal or with the end of a process, and each has a deadline.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { systemClock, withDeadline } from '../../protocols/clock.ts'
import type { Roster } from '../../protocols/membership.ts'
import type { Entry } from '../../src/base/journal.ts'
import { Children, type Launch } from '../../src/cli/children.ts'
import { type InitSetting, initRun } from '../../src/cli/init.ts'
import type { Run } from '../../src/run/run.ts'
import { sampleText } from '../fixtures/text.ts'
import { FieldPeer } from './peer.ts'

/** A model whose steps take a fraction of a second, on two cores for all processes. */
const SETTINGS = {
  stages: '3',
  layers: '3',
  hidden: '32',
  heads: '2',
  context: '32',
  batch: '2',
  microbatches: '4',
  steps: '1000000',
  evaluateEvery: '100000',
} as const satisfies Partial<Record<InitSetting, string>>

export interface FieldSettings {
  readonly run?: Partial<Record<InitSetting, string>>
  /** Settings without an option of `init`, by their path in the manifest. */
  readonly fixed?: Readonly<Record<string, unknown>>
}

export interface PeerSettings extends Launch {
  /** Options of `join` beside those of every peer. */
  readonly args?: readonly string[]
  /** Folder of the machine's disk, if it is not one in the folder of the case. */
  readonly disk?: string
}

/** Deadline for a swarm to be whole and to make steps, in seconds. */
const WHOLE_SECONDS = 90

export class FieldSwarm {
  /** All processes that were ever started. */
  readonly peers: FieldPeer[] = []
  readonly entries: Entry[] = []
  readonly run: Run
  readonly #folder: string
  readonly #children = new Children()
  readonly #watchers = new Set<() => void>()

  private constructor(folder: string, run: Run) {
    this.#folder = folder
    this.run = run
  }

  static async create(folder: string, { run, fixed }: FieldSettings): Promise<FieldSwarm> {
    mkdirSync(folder, { recursive: true })
    const data = join(folder, 'text.txt')
    writeFileSync(data, sampleText())
    const out = join(folder, 'run.json')
    const settings = { ...SETTINGS, ...run }
    return new FieldSwarm(folder, await initRun({ out, data, force: true, settings }, fixed))
  }

  /** Starts a process on the machine `name`. */
  launch(name: string, { args = [], disk, ...launch }: PeerSettings = {}): FieldPeer {
    const dataDir = disk ?? join(this.#folder, name)
    const files = ['--run', join(this.#folder, 'run.json'), '--data-dir', dataDir]
    const common = ['join', ...files, '--threads', '1', '--provider', 'cpu', '--domain', name]
    const mdns = args.includes(MDNS) ? [] : ['--no-mdns']
    const own = args.filter((arg) => arg !== MDNS)
    const peer = new FieldPeer(name, (pid, signal) => this.#children.signal(pid, signal))
    const child = this.#children.start(
      [...common, ...mdns, ...own],
      (entry) => {
        peer.entries.push(entry)
        this.entries.push(entry)
        this.#wake()
      },
      (text) => {
        peer.messages.push(text)
        this.#wake()
      },
      launch,
    )
    peer.started(child.pid)
    this.peers.push(peer)
    void child.exited.then((exit) => {
      peer.exit = exit
      this.#wake()
    })
    return peer
  }

  /** Starts peers `p1` to `pN` and waits until they train. The first one founds the run, and the others know its address. */
  async start(
    count: number,
    settingsOf: (number: number) => PeerSettings = () => ({}),
  ): Promise<FieldPeer[]> {
    const founder = this.launch('p1', settingsOf(1))
    await this.until('the first process to found the run', 60, () => founder.isMember)
    const others = Array.from({ length: count - 1 }, (_, i) =>
      this.join(`p${i + 2}`, founder, settingsOf(i + 2)),
    )
    await this.trains()
    return [founder, ...others]
  }

  /** Starts a process that knows the address of another one. */
  join(name: string, contact: FieldPeer, settings: PeerSettings = {}): FieldPeer {
    const args = ['--bootstrap', dialable(contact), ...(settings.args ?? [])]
    return this.launch(name, { ...settings, args })
  }

  /** Processes that have not ended. */
  get live(): FieldPeer[] {
    return this.peers.filter(({ isLive }) => isLive)
  }

  /** The live process that made the last step; undefined before the first step. */
  get coordinator(): FieldPeer | undefined {
    const last = this.entries.findLast(
      ({ type, peer }) => (type === 'step' || type === 'founded') && this.#find(peer) !== undefined,
    )
    return last && this.#find(last.peer)
  }

  #find(id: string): FieldPeer | undefined {
    return this.live.find((peer) => peer.id === id)
  }

  /** The roster of the live process that made the last step. */
  get roster(): Roster | null {
    return this.coordinator?.roster ?? null
  }

  /** Last step of the live coordinator. */
  get step(): number {
    return this.coordinator?.step ?? 0
  }

  /** Stage of a process in the coordinator's roster; null for a spare, undefined for a process that is not in it. */
  stageOf(peer: FieldPeer): number | null | undefined {
    return this.roster?.members.find((member) => member.peer === peer.id)?.stage
  }

  /** Live holders of a stage, without those that still fetch its state. */
  holdersOf(stage: number): FieldPeer[] {
    const members = this.roster?.members ?? []
    const holders = members.filter((member) => member.stage === stage && member.ready)
    return this.live.filter(({ id }) => holders.some(({ peer }) => peer === id))
  }

  /** Live members without a stage. */
  get spares(): FieldPeer[] {
    return this.live.filter((peer) => this.stageOf(peer) === null)
  }

  /** The only holder of a body stage that does not coordinate. */
  get someHolder(): FieldPeer {
    const holder = this.live.find(
      (peer) => (this.stageOf(peer) ?? 0) > 0 && peer !== this.coordinator,
    )
    if (holder === undefined) throw new Error('nobody holds a body stage')
    return holder
  }

  /** True if the coordinator's roster names exactly `expected`, and every stage has a holder. */
  isWhole(expected: readonly FieldPeer[] = this.live): boolean {
    const members = this.roster?.members ?? []
    const named = new Set(members.map(({ peer }) => peer))
    const held = new Set(
      members.flatMap(({ stage, ready }) => (stage !== null && ready ? stage : [])),
    )
    return (
      named.size === expected.length &&
      expected.every((peer) => peer.isMember && named.has(peer.id)) &&
      held.size === this.run.stages + 1
    )
  }

  /**
   * Resolves when the roster names exactly `expected`, and one coordinator has made `steps` steps since this call and since the roster
   * was whole.
   * @param among the processes of the roster; all live processes if left out
   * @returns seconds since the call
   */
  async trains({
    steps = 3,
    seconds = WHOLE_SECONDS,
    among,
  }: {
    readonly steps?: number
    readonly seconds?: number
    readonly among?: readonly FieldPeer[]
  } = {}): Promise<number> {
    const startMs = systemClock.now()
    let from = this.entries.length
    const what = `${steps} steps of ${(among ?? this.live).map(({ name }) => name).join(', ')}`
    await this.until(what, seconds, () => {
      if (!this.isWhole(among)) from = this.entries.length
      const made = this.entries.slice(from).filter(({ type }) => type === 'step')
      return made.length >= steps && new Set(made.slice(-steps).map(({ peer }) => peer)).size === 1
    })
    return (systemClock.now() - startMs) / 1000
  }

  /** Resolves after this many more steps. Members may come and go meanwhile. @returns seconds since the call */
  async steps(count: number, seconds = WHOLE_SECONDS): Promise<number> {
    const startMs = systemClock.now()
    const from = this.entries.length
    await this.until(
      `${count} steps`,
      seconds,
      () => this.entries.slice(from).filter(({ type }) => type === 'step').length >= count,
    )
    return (systemClock.now() - startMs) / 1000
  }

  /** Steps a second, measured over this many seconds. */
  async speed(seconds: number): Promise<number> {
    const from = this.entries.length
    await systemClock.sleep(seconds * 1000)
    return this.entries.slice(from).filter(({ type }) => type === 'step').length / seconds
  }

  /**
   * Resolves when `test` gives true. It is called after every entry, every message and every end of a process.
   * @throws with the state of the swarm after `seconds`
   */
  async until(what: string, seconds: number, test: () => boolean): Promise<void> {
    if (test()) return
    const seen = Promise.withResolvers<void>()
    const watcher = () => {
      if (test()) seen.resolve()
    }
    this.#watchers.add(watcher)
    try {
      const deadline = { clock: systemClock, timeoutMs: seconds * 1000 }
      await withDeadline(deadline, what, () => seen.promise).catch(() => {
        throw new Error(`no ${what} within ${seconds} s (${this.#state()})`)
      })
    } finally {
      this.#watchers.delete(watcher)
    }
  }

  #state(): string {
    const members = this.roster?.members ?? []
    const named = members.map(({ peer, stage, ready }) => {
      const name = this.peers.findLast(({ id }) => id === peer)?.name ?? '?'
      return `${name}:${stage ?? '-'}${ready ? '' : '?'}`
    })
    const ended = this.peers.filter(({ isLive }) => !isLive)
    const ends = ended.map(({ name, exit }) => `${name} ${exit}`).join(', ')
    const who = this.coordinator?.name ?? 'nobody'
    return `${who} coordinates ${named.join(' ')} at step ${this.step}; ended: ${ends || 'none'}`
  }

  async close(): Promise<void> {
    for (const peer of this.peers) {
      if (peer.isFrozen) peer.thaw()
      else if (peer.isLive) peer.kill()
    }
    await this.#children.stop(systemClock)
  }

  #wake(): void {
    for (const watcher of [...this.#watchers]) watcher()
  }
}

/** Stands for mDNS among the arguments of a process. Without it a process does not look for peers by mDNS. */
export const MDNS = 'mdns'

/** An address by which other machines reach the peer. */
export function dialable({ addresses }: FieldPeer): string {
  return addresses.find((address) => !address.includes('/127.0.0.1/')) ?? addresses[0]!
}
