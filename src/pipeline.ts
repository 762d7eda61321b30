/**
 * The part of a member that computes: takes work from the inbox, runs the stage, hands the result on, and counts each
 * microbatch once. It knows one step at a time, named by its fence; a new fence drops everything of the old one.
 */

import type { Clock } from '../protocols/clock.ts'
import { encodeTensor, type WireDtype } from '../protocols/codec.ts'
import { ProtocolError } from '../protocols/errors.ts'
import { checkRun } from '../protocols/membership.ts'
import { type MicrobatchHeader, microbatch, peerAt, stageAt } from '../protocols/microbatch.ts'
import type { Network } from '../protocols/network.ts'
import { ask } from '../protocols/procedure.ts'
import type { Route } from '../protocols/step.ts'
import type { AnyStage } from '../stages/stage.ts'
import { Inbox, type Work } from './inbox.ts'
import { TIMEOUTS } from './limits.ts'
import type { TensorBuffers } from './tensor-buffers.ts'
import { type Data, type InFlight, type Outcome, type Worker, workerOf } from './work.ts'

/** Names a step, and the roster under which it is made. */
export interface Fence {
  readonly run: string
  readonly epoch: number
  readonly step: number
}

export interface PipelineOptions {
  readonly network: Network
  readonly clock: Clock
  readonly stage: AnyStage
  readonly stageIndex: number
  readonly data: Data
  /** What tensors arrive in. */
  readonly buffers: TensorBuffers
  /** [batch, context, hidden] */
  readonly shape: readonly [number, number, number]
  /** How activations and their gradients travel. */
  readonly wire: WireDtype
  /** Microbatches that a driver keeps on their way at once. */
  readonly inFlight: number
  /** The most microbatches that a step or an evaluation has. */
  readonly microbatches: number
}

export interface Gradients {
  readonly counted: number
  readonly losses: number[] | null
  readonly busySeconds: number
}

/** What happened under one fence. */
interface Progress {
  readonly fence: Fence
  /** Microbatches whose gradient is in the sum. */
  readonly counted: Set<number>
  /** `purpose/direction/index` of all that came in: a second copy is answered and dropped. */
  readonly seen: Set<string>
  /** Of the microbatches trained on; in the driver only. */
  readonly losses: Map<number, number>
  /** Held-out microbatches that this stage is done with: their losses in the driver, null elsewhere. */
  readonly measured: Map<number, number | null>
  /** Microbatches that the driver has yet to start, in order. */
  unstarted: Work[]
  /** Results on their way to the next stage, not yet taken in there. */
  handing: number
  /** Spent computing on what is trained. */
  busyMs: number
  failure: ProtocolError | null
  /** Looks again whether what it waits for has come. */
  readonly waiters: Set<() => void>
}

export class Pipeline {
  readonly #options: PipelineOptions
  readonly #inbox: Inbox
  readonly #kept = new Map<number, InFlight>()
  readonly #worker: Worker
  #progress: Progress | null = null
  #closed = false

  constructor(options: PipelineOptions) {
    this.#options = options
    // At most one forward, one backward and one start of each microbatch can wait.
    this.#inbox = new Inbox(3 * options.microbatches)
    this.#worker = workerOf(options.stage, options.data, this.#kept, options.buffers)
    void this.#run()
  }

  /** Drops the step in hand; from now on only work of `fence` is taken. The caller sees to the gradient sums. */
  open(fence: Fence): void {
    const old = this.#progress
    this.#inbox.clear()
    this.#kept.clear()
    this.#progress = {
      fence,
      counted: new Set(),
      seen: new Set(),
      losses: new Map(),
      measured: new Map(),
      unstarted: [],
      handing: 0,
      busyMs: 0,
      failure: null,
      waiters: new Set(),
    }
    if (old !== null) {
      this.#fail(old, new ProtocolError('STALE', `step ${old.fence.step} was given up`))
    }
  }

  close(): void {
    this.#closed = true
    const reason = new ProtocolError('REFUSED', 'this peer stops')
    this.#inbox.close(reason)
    if (this.#progress !== null) this.#fail(this.#progress, reason)
    this.#kept.clear()
  }

  /** Refuses a header that does not belong to the step in hand or to this stage. @throws ProtocolError */
  check(header: MicrobatchHeader): Progress {
    const progress = this.#current(header)
    const { stageIndex, microbatches, shape, wire } = this.#options
    if (stageAt(header) !== stageIndex || header.position > header.route.length) {
      throw new ProtocolError('REFUSED', `stage ${stageAt(header)} is not held here`)
    }
    if (header.index >= microbatches) {
      throw new ProtocolError('REFUSED', `microbatch ${header.index} of ${microbatches}`)
    }
    if (header.shape.some((size, axis) => size !== shape[axis])) {
      throw new ProtocolError(
        'WRONG_SHAPE',
        `microbatch ${header.index}: shape [${header.shape}], stage ${stageIndex} takes [${shape}]`,
      )
    }
    if (header.dtype !== wire) {
      throw new ProtocolError('WRONG_SHAPE', `${header.dtype} comes, this run sends ${wire}`)
    }
    return progress
  }

  /** Takes a microbatch in. A copy of one that is already in changes nothing. @throws ProtocolError */
  receive(header: MicrobatchHeader, tensor: Float32Array): void {
    const progress = this.check(header)
    const key = `${header.purpose}/${header.direction}/${header.index}`
    if (progress.seen.has(key)) return
    this.#inbox.put({ header, tensor })
    progress.seen.add(key)
  }

  /**
   * Resolves when this stage has counted every microbatch of the step and handed each on; the driver starts them. A
   * result that the next stage refuses is this stage's failure: nobody else hears of it.
   */
  async prepare(fence: Fence, routes: readonly Route[]): Promise<Gradients> {
    const progress = this.#current(fence)
    if (this.#options.stage.kind === 'ends') this.#start(progress, 'train', routes)
    await this.#until(
      progress,
      () => progress.counted.size === routes.length && progress.handing === 0,
    )
    const losses = routes.map((_, index) => progress.losses.get(index)!)
    return {
      counted: progress.counted.size,
      losses: this.#options.stage.kind === 'ends' ? losses : null,
      busySeconds: progress.busyMs / 1000,
    }
  }

  /**
   * Resolves when this stage has passed on every held-out microbatch, with their mean loss in the driver, which starts
   * them. Every stage is asked, since each alone knows of its failures.
   */
  async evaluate(fence: Fence, routes: readonly Route[]): Promise<number | null> {
    const progress = this.#current(fence)
    const { measured } = progress
    const drives = this.#options.stage.kind === 'ends'
    if (drives) this.#start(progress, 'evaluate', routes)
    await this.#until(progress, () => measured.size === routes.length && progress.handing === 0)
    return drives ? routes.reduce((sum, _, i) => sum + measured.get(i)!, 0) / routes.length : null
  }

  #current({ run, epoch, step }: Fence): Progress {
    const progress = this.#progress
    if (progress === null) throw new ProtocolError('REFUSED', 'no step is open here')
    const { fence } = progress
    checkRun(fence.run, run)
    if (epoch !== fence.epoch || step !== fence.step) {
      throw new ProtocolError(
        'STALE',
        `epoch ${epoch} step ${step}; this peer is at epoch ${fence.epoch} step ${fence.step}`,
      )
    }
    return progress
  }

  #start(progress: Progress, purpose: 'train' | 'evaluate', routes: readonly Route[]): void {
    const { network, shape, wire, inFlight } = this.#options
    progress.unstarted = routes.map((route, index) => ({
      tensor: null,
      header: {
        ...progress.fence,
        index,
        purpose,
        direction: 'forward',
        route,
        position: -1,
        driver: network.self,
        dtype: wire,
        shape: [...shape],
      },
    }))
    for (const work of progress.unstarted.splice(0, inFlight)) this.#inbox.put(work)
  }

  async #run(): Promise<void> {
    while (!this.#closed) {
      try {
        await this.#workOn(await this.#inbox.take())
      } catch {
        // Only `close` ends a take; what goes wrong in the work itself is kept as the step's failure.
      }
    }
  }

  async #workOn(work: Work): Promise<void> {
    const progress = this.#progress
    // Taken before, but opened again since: between the take and this line another fence may have come.
    if (progress === null || work.header.epoch !== progress.fence.epoch) return
    if (work.header.step !== progress.fence.step || progress.failure !== null) return
    const { clock } = this.#options
    const before = clock.now()
    try {
      const outcome = await this.#worker(work)
      if (progress !== this.#progress) return
      if (work.header.purpose === 'train') progress.busyMs += clock.now() - before
      this.#settle(progress, work.header, outcome)
    } catch (error) {
      this.#fail(progress, asProtocolError(error, `stage ${this.#options.stageIndex}`))
    }
  }

  #settle(progress: Progress, header: MicrobatchHeader, outcome: Outcome): void {
    const { index, purpose } = header
    if (purpose === 'train') {
      if (outcome.loss !== undefined) progress.losses.set(index, outcome.loss)
      if (outcome.counted) progress.counted.add(index)
    } else if (outcome.loss !== undefined || this.#options.stage.kind === 'body') {
      progress.measured.set(index, outcome.loss ?? null)
    }
    if (outcome.onward) void this.#handOver(progress, outcome.onward.header, outcome.onward.tensor)
    else {
      const next = progress.unstarted.shift()
      if (next !== undefined) this.#inbox.put(next)
    }
    for (const look of progress.waiters) look()
  }

  async #handOver(progress: Progress, header: MicrobatchHeader, tensor: Float32Array) {
    const { network, stageIndex } = this.#options
    progress.handing++
    try {
      await ask(network, peerAt(header), microbatch, header, {
        body: encodeTensor(header.dtype, tensor),
        timeoutMs: TIMEOUTS.handOverMs,
      })
    } catch (error) {
      const what = `stage ${stageIndex} could not hand microbatch ${header.index} ${header.direction} to stage ${stageAt(header)} (${peerAt(header)})`
      this.#fail(progress, asProtocolError(error, what))
    }
    progress.handing--
    for (const look of progress.waiters) look()
  }

  #fail(progress: Progress, failure: ProtocolError): void {
    progress.failure ??= failure
    for (const look of progress.waiters) look()
  }

  #until(progress: Progress, done: () => boolean): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const look = () => {
      if (progress.failure !== null) reject(progress.failure)
      else if (done()) resolve()
      else return
      progress.waiters.delete(look)
    }
    progress.waiters.add(look)
    look()
    return promise
  }
}

function asProtocolError(error: unknown, what: string): ProtocolError {
  const code = error instanceof ProtocolError ? error.code : 'INTERNAL'
  const reason = error instanceof Error ? error.message : String(error)
  return new ProtocolError(code, `${what}: ${reason}`, { cause: error })
}
