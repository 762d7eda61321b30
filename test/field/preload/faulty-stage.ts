/**
 * Loaded before a node (`--import`): makes the thread that computes its stage faulty as soon as the file FIELD_TRIGGER exists. FIELD_FAULT
 * is a row of FAULTS.
 */
import { syncBuiltinESMExports } from 'node:module'
import threads, { type WorkerOptions } from 'node:worker_threads'

/** Code that runs in the thread before it sends `reply`. The faults `die` and `memory` happen once. */
const FAULTS: Readonly<Record<string, string>> = {
  /** The thread never answers again. */
  hang: 'Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)',
  /** The thread ends. */
  die: 'rmSync(trigger, { force: true }); process.exit(7)',
  /** The thread needs more memory than it may have. */
  memory:
    'rmSync(trigger, { force: true }); for (const all = []; ; ) all.push(new Array(1e6).fill(0))',
  /** Every result holds no numbers, as from a machine with bad memory. */
  nan: 'spoil(reply.result)',
}

const { FIELD_FAULT: fault = '', FIELD_TRIGGER: trigger = '' } = process.env

const PATCH = `{
  const { parentPort } = require('node:worker_threads')
  const { existsSync, rmSync } = require('node:fs')
  const trigger = ${JSON.stringify(trigger)}
  const spoil = (value) => {
    if (ArrayBuffer.isView(value)) {
      if (value instanceof Float32Array && value.buffer instanceof ArrayBuffer) value.fill(NaN)
    } else if (typeof value === 'object' && value !== null) Object.values(value).forEach(spoil)
  }
  const post = parentPort.postMessage.bind(parentPort)
  parentPort.postMessage = (reply, transfer) => {
    if (existsSync(trigger)) { ${FAULTS[fault]} }
    post(reply, transfer)
  }
}`

const { Worker } = threads

class FaultyWorker extends Worker {
  constructor(program: string | URL, options: WorkerOptions = {}) {
    const isStage = options.eval === true && Object(options.workerData).init !== undefined
    if (isStage) {
      super(PATCH + String(program), {
        ...options,
        resourceLimits: { maxOldGenerationSizeMb: 256 },
      })
    } else super(program, options)
  }
}

threads.Worker = FaultyWorker
syncBuiltinESMExports()
