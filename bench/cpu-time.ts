/** CPU time of processes by kind of thread, as Linux counts it. */
import { readdirSync, readFileSync } from 'node:fs'

/** Seconds since the process began. */
export interface CpuSeconds {
  /** Messages, the network, the node. */
  readonly main: number
  /** The thread of the stage, with ONNX Runtime's own. */
  readonly stage: number
  /** V8's collector and compiler, libuv's pool. */
  readonly helpers: number
}

/** Linux's unit of CPU time in /proc. */
const TICKS_A_SECOND = 100

/** V8 and libuv name theirs; Node names a worker's after its number, and ONNX Runtime's bear the name of whoever made them. */
const HELPERS = /^(V8Worker|DelayedTask|libuv-worker|SignalInspector|node-V8|node-Delayed)/

export function cpuSeconds(pid: number): CpuSeconds {
  const seconds = { main: 0, stage: 0, helpers: 0 }
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8')
    // The name stands in brackets and may hold any character; user and system time are the 14th and 15th field.
    const name = stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')'))
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const taken = (Number(fields[11]) + Number(fields[12])) / TICKS_A_SECOND
    if (Number(thread) === pid) seconds.main += taken
    else if (HELPERS.test(name)) seconds.helpers += taken
    else seconds.stage += taken
  }
  return seconds
}
