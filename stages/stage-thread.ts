/** The owner's side of a stage's thread: numbered calls, and their failure when the thread ends. */
import type { Worker } from 'node:worker_threads'
import { StageGoneError } from './stage-calls.ts'
import {
  buffersOf,
  READY,
  type WorkerCall,
  type WorkerReady,
  type WorkerReply,
} from './worker-messages.ts'

export class StageThread {
  /** Rejects if the stage cannot be created. */
  readonly ready: Promise<WorkerReady>
  readonly ended: Promise<void>
  readonly #worker: Worker
  readonly #pending = new Map<number, PromiseWithResolvers<unknown>>()
  readonly #hasEnded = Promise.withResolvers<void>()
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
    this.ended = this.#hasEnded.promise
    worker.on('exit', (code) => {
      this.#fail(new StageGoneError(`the thread of stage ${stage} ended with code ${code}`))
      this.#hasEnded.resolve()
    })
  }

  /** Calls a method of the stage. Transfers the arrays of `args` that are not shared. */
  call(method: string, args: readonly unknown[]): Promise<unknown> {
    if (this.#gone !== undefined) return Promise.reject(this.#gone)
    this.#calls++
    const call: WorkerCall = { id: this.#calls, method, args }
    const result = this.#expect(call.id)
    this.#worker.postMessage(call, buffersOf(args))
    return result
  }

  /** Gives up a thread that hangs. Its calls fail, and it keeps the process alive no longer. Its memory is not free. */
  giveUp(reason: string): void {
    this.#fail(new StageGoneError(reason))
    this.#worker.unref()
    this.#hasEnded.resolve()
  }

  /** Asks the thread to end. Worker.terminate during a run would crash the whole process. */
  async close(): Promise<void> {
    if (this.#gone === undefined) await this.call('close', [])
    await this.ended
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
