/** Nodes as child processes. The parent reads each child's journal from its standard output. No child outlives its parent. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { type Clock, withDeadline } from '../../protocols/clock.ts'
import type { Entry } from '../base/journal.ts'

/** A running node. */
export interface Child {
  readonly pid: number
  /** Resolves with the exit code, or with the name of the signal that ended the process. */
  readonly exited: Promise<number | NodeJS.Signals>
}

/** Surroundings of a child that differ from those of its parent. */
export interface Launch {
  /** Command that starts the child, such as `ip netns exec NAME`. It must become the child's process. */
  readonly under?: readonly string[]
  /** Options of Node. */
  readonly nodeOptions?: readonly string[]
  /** Environment variables beside those of the parent. */
  readonly env?: Readonly<Record<string, string>>
}

/** Deadline for a child to stop before it is killed, in milliseconds. */
const STOP_MS = 5_000

/** All child processes of one purpose. */
export class Children {
  readonly #running = new Map<number, { process: ChildProcess; child: Child }>()
  readonly #killAll = () => {
    for (const { process } of this.#running.values()) process.kill('SIGKILL')
  }

  constructor() {
    // Children must also end when this process ends with an error.
    process.on('exit', this.#killAll)
  }

  /**
   * Starts `gensyn-node` with the given arguments and `--json`.
   * @param onEntry called with each journal entry that the child prints
   * @param onMessage called with the child's error message, and with any other text that it prints
   */
  start(
    args: readonly string[],
    onEntry: (entry: Entry) => void,
    onMessage: (text: string) => void,
    { under = [], nodeOptions = [], env = {} }: Launch = {},
  ): Child {
    const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js'
    const main = fileURLToPath(new URL(`../main${extension}`, import.meta.url))
    const node = [process.execPath, ...nodeOptions, main, ...args, '--json']
    const [program, ...rest] = [...under, ...node] as [string, ...string[]]
    const started = spawn(program, rest, {
      env: { ...process.env, ...env },
      // No message is ever sent. The end of the channel tells a child that its parent has ended, for whatever reason.
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      // In a process group of its own: Ctrl-C reaches the parent only, which then stops its children in order.
      detached: true,
    })
    const pid = started.pid
    if (pid === undefined) throw new Error(`could not start ${program}`)
    createInterface({ input: started.stdout! }).on('line', (line) => {
      const entry = parsed(line)
      if (entry === null) onMessage(line)
      else if (entry.type === 'error') onMessage(entry.message)
      else onEntry(entry)
    })
    createInterface({ input: started.stderr! }).on('line', onMessage)
    const exited = new Promise<number | NodeJS.Signals>((resolve) => {
      started.once('close', (code, signal) => {
        this.#running.delete(pid)
        resolve(code ?? signal!)
      })
    })
    const child: Child = { pid, exited }
    this.#running.set(pid, { process: started, child })
    return child
  }

  /** Sends a signal to one child that this object started and that still runs. */
  signal(pid: number, signal: NodeJS.Signals): void {
    this.#running.get(pid)?.process.kill(signal)
  }

  /** Asks all children to stop, kills those that do not within 5 s, and resolves when none is left. */
  async stop(clock: Clock): Promise<void> {
    const all = [...this.#running.values()]
    for (const { process } of all) process.kill('SIGTERM')
    const exits = Promise.all(all.map(({ child }) => child.exited))
    await withDeadline({ clock, timeoutMs: STOP_MS }, 'the processes to stop', () => exits).catch(
      this.#killAll,
    )
    await exits
    process.off('exit', this.#killAll)
  }
}

/** Parses a line as an entry; null for other text, such as the last line of a killed process. */
function parsed(line: string): Entry | { type: 'error'; message: string } | null {
  try {
    return JSON.parse(line)
  } catch {
    return null
  }
}
