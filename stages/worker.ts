/** The program of a stage's thread: a local stage behind a message port. Started by thread-start.ts. */
import { type MessagePort, parentPort, workerData } from 'node:worker_threads'
import { createLocalStage } from './onnx-stage.ts'
import { Random } from './random.ts'
import {
  buffersOf,
  READY,
  type WorkerCall,
  type WorkerInit,
  type WorkerReady,
} from './worker-messages.ts'

const port = parentPort as MessagePort
const { config, stage, options, random } = (workerData as { init: WorkerInit }).init
const creation = createLocalStage(config, stage, { ...options, random: new Random(random) })

/** Sends the result or the error of `work` as the reply to `id`. */
async function answer(id: number, work: () => Promise<unknown>): Promise<void> {
  try {
    const result = await work()
    port.postMessage({ id, result }, buffersOf([result]))
  } catch (error) {
    port.postMessage({ id, error })
  }
}

async function carryOut({ id, method, args }: WorkerCall): Promise<void> {
  await answer(id, async () => {
    const methods: object = await creation
    return (methods as Record<string, (...args: readonly unknown[]) => unknown>)[method]!(...args)
  })
  // The thread ends when the port is closed, since nothing else keeps the thread alive.
  if (method === 'close') port.close()
}

port.on('message', (call: WorkerCall) => void carryOut(call))

await answer(READY, async (): Promise<WorkerReady> => {
  const { parameters, weights, sums, moments } = await creation
  return { parameters, weights, sums, moments }
})
creation.catch(() => port.close())
