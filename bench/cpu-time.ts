/** Processor time of processes by kind of thread, from /proc of Linux. */
import { readdirSync, readFileSync } from 'node:fs'

/** Processor time since the start of the process, in seconds. */
export interface CpuSeconds {
  /** Main thread: messages, the network, the node. */
  readonly main: number
  /** Thread of the stage, and threads of ONNX Runtime. */
  readonly stage: number
  /** Threads of V8's collector and compiler, and of libuv's pool. */
  readonly helpers: number
}

/** Units of processor time in /proc, a second. */
const TICKS_A_SECOND = 100

/**
 * Names of the threads of V8 and libuv. A worker's thread has its number as its name; ONNX Runtime's threads have their
 * creator's name.
 */
const HELPERS = /^(V8Worker|DelayedTask|libuv-worker|SignalInspector|node-V8|node-Delayed)/

export function cpuSeconds(pid: number): CpuSeconds {
  const seconds = { main: 0, stage: 0, helpers: 0 }
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8')
    // The name is in brackets and may have any character. User and system time are the 14th and 15th field.
    const name = stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')'))
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const taken = (Number(fields[11]) + Number(fields[12])) / TICKS_A_SECOND
    if (Number(thread) === pid) seconds.main += taken
    else if (HELPERS.test(name)) seconds.helpers += taken
    else seconds.stage += taken
  }
  return seconds
}
