/** Nodes as child processes of this one, each read by its journal on standard output. None outlives its parent. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { type Clock, withDeadline } from '../../protocols/clock.ts'
import type { Entry } from '../base/journal.ts'

export interface Child {
  readonly pid: number
  /** Resolves with the exit code, or the name of the signal that ended it. */
  readonly exited: Promise<number | NodeJS.Signals>
}

/** How long a child that was asked to stop may take before it is killed. */
const STOP_MS = 5_000

export class Children {
  readonly #running = new Map<number, { process: ChildProcess; child: Child }>()
  readonly #killAll = () => {
    for (const { process } of this.#running.values()) process.kill('SIGKILL')
  }

  constructor() {
    // Also when this process ends in a way that nobody planned.
    process.on('exit', this.#killAll)
  }

  /** Starts `gensyn-node` with the given arguments and `--json`; every journal entry it prints goes to `onEntry`. */
  start(
    args: readonly string[],
    onEntry: (entry: Entry) => void,
    /** What it says of its own end, and anything else it prints. */
    onComplaint: (text: string) => void,
  ): Child {
    const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js'
    const main = fileURLToPath(new URL(`../main${extension}`, import.meta.url))
    const started = spawn(process.execPath, [main, ...args, '--json'], {
      // The channel is never written to: its end tells a child that its parent is gone, however that came about.
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      // Out of this one's group: Ctrl-C reaches the parent alone, which then stops its children in order.
      detached: true,
    })
    const pid = started.pid
    if (pid === undefined) throw new Error(`could not start ${process.execPath}`)
    createInterface({ input: started.stdout! }).on('line', (line) => {
      const entry = parsed(line)
      if (entry === null) onComplaint(line)
      else if (entry.type === 'error') onComplaint(entry.message)
      else onEntry(entry)
    })
    createInterface({ input: started.stderr! }).on('line', onComplaint)
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

  /** Asks all to stop, kills who does not, and resolves when none is left. */
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

/** Null for what is no entry: the last line of a killed process, or a library that prints. */
function parsed(line: string): Entry | { type: 'error'; message: string } | null {
  try {
    return JSON.parse(line)
  } catch {
    return null
  }
}
