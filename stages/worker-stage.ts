/** A stage computed in a thread of its own, so that the caller's thread stays free. */
import { Worker } from 'node:worker_threads'
import type { StageOptions } from './engine.ts'
import type { StageConfig } from './model.ts'
import type { StageAt } from './onnx-stage.ts'
import { ENDS } from './parameters.ts'
import { StageGoneError, stageOn } from './stage-calls.ts'
import {
  READY,
  type WorkerCall,
  type WorkerInit,
  type WorkerReady,
  type WorkerReply,
} from './worker-messages.ts'

/** Beside this file, with its extension: .ts from source, .js from dist. */
const WORKER = new URL(
  import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js',
  import.meta.url,
)

export async function createWorkerStage<N extends number>(
  config: StageConfig,
  stage: N,
  { random, ...options }: StageOptions,
): Promise<StageAt<N>> {
  const init: WorkerInit = { config, stage, options, random: random.path }
  const thread = new StageThread(new Worker(WORKER, { workerData: init }), stage)
  const { parameters, weights } = await thread.ready
  return stageOn(stage === ENDS ? 'ends' : 'body', config, {
    parameters,
    weights,
    call: (method, args) => thread.call(method, args.map(sendable)),
    close: () => thread.close(),
  }) as StageAt<N>
}

class StageThread {
  /** Rejects if the stage could not be made. */
  readonly ready: Promise<WorkerReady>
  readonly #worker: Worker
  readonly #pending = new Map<number, PromiseWithResolvers<unknown>>()
  readonly #ended = Promise.withResolvers<void>()
  #gone: StageGoneError | undefined
  #calls = READY

  constructor(worker: Worker, stage: number) {
    this.#worker = worker
    this.ready = this.#expect(READY) as Promise<WorkerReady>
    worker.on('message', (reply: WorkerReply) => this.#settle(reply))
    worker.on('error', (cause) => {
      this.#fail(
        new StageGoneError(`the thread of stage ${stage} died: ${cause.message}`, { cause }),
      )
    })
    worker.on('exit', (code) => {
      this.#fail(new StageGoneError(`the thread of stage ${stage} ended with code ${code}`))
      this.#ended.resolve()
    })
  }

  call(method: string, args: readonly unknown[]): Promise<unknown> {
    if (this.#gone !== undefined) return Promise.reject(this.#gone)
    this.#calls++
    const call: WorkerCall = { id: this.#calls, method, args }
    const result = this.#expect(call.id)
    this.#worker.postMessage(call)
    return result
  }

  /** Never Worker.terminate: in the middle of a run it brings the whole process down. */
  async close(): Promise<void> {
    if (this.#gone === undefined) await this.call('close', [])
    await this.#ended.promise
  }

  #expect(id: number): Promise<unknown> {
    const pending = Promise.withResolvers<unknown>()
    this.#pending.set(id, pending)
    return pending.promise
  }

  #settle(reply: WorkerReply): void {
    const pending = this.#pending.get(reply.id)
    this.#pending.delete(reply.id)
    if ('error' in reply) pending?.reject(reply.error)
    else pending?.resolve(reply.result)
  }

  #fail(reason: StageGoneError): void {
    this.#gone ??= reason
    for (const pending of this.#pending.values()) pending.reject(this.#gone)
    this.#pending.clear()
  }
}

/**
 * Shared memory crosses as it is. Anything else is cut to what is viewed first: a message would carry the whole buffer
 * behind a view.
 */
function sendable(argument: unknown): unknown {
  const unshared = ArrayBuffer.isView(argument) && argument.buffer instanceof ArrayBuffer
  return unshared ? (argument as Float32Array | Int32Array).slice() : argument
}
