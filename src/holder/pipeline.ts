/**
 * The part of a member that computes: takes work from the inbox, runs the stage, hands the result on, and counts each
 * microbatch once. It knows one step at a time, named by its fence; a new fence drops everything of the old one.
 *
 * A microbatch may come again under a higher attempt, after a holder on its way was lost: it is worked on again, and
 * counted only if it was not before. What is under way of lower attempts is dropped wherever it is met.
 */
import type { Clock } from '../../protocols/clock.ts'
import { encodeTensor, type WireDtype } from '../../protocols/codec.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import { checkRun } from '../../protocols/membership.ts'
import { type MicrobatchHeader, microbatch, stageAt, workerAt } from '../../protocols/microbatch.ts'
import type { Network, PeerId } from '../../protocols/network.ts'
import { ask } from '../../protocols/procedure.ts'
import type {
  EvaluateQuestion,
  Journey,
  PrepareAnswer,
  PrepareQuestion,
} from '../../protocols/step.ts'
import type { AnyStage } from '../../stages/stage.ts'
import { TIMEOUTS } from '../base/limits.ts'
import type { BatchSource } from '../run/batch-source.ts'
import { Inbox, type Work } from './inbox.ts'
import {
  type Counted,
  executorOf,
  type InFlight,
  type MicrobatchExecutor,
  type Outcome,
} from './microbatch-executor.ts'
import type { TensorBuffers } from './tensor-buffers.ts'

/** Names a step, and the epoch since which its sums grow. */
export interface Fence {
  readonly run: string
  readonly epoch: number
  readonly step: number
}

/** A microbatch that does not get on from here. */
export interface Trouble {
  readonly header: MicrobatchHeader
  /** Id of the member that it could not be handed to; null if the work itself failed. */
  readonly to: number | null
  readonly error: ProtocolError
}

export interface PipelineOptions {
  readonly network: Network
  readonly clock: Clock
  readonly stage: AnyStage
  readonly stageIndex: number
  readonly data: BatchSource
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
  /** The peer behind a member's id; undefined if it is not in the roster. */
  peerOf(id: number): PeerId | undefined
  /** Tells the coordinator. Must not wait. */
  onTrouble(trouble: Trouble): void
}

/** What happened under one fence. */
interface Progress extends Counted {
  readonly fence: Fence
  /** The latest attempt that is known of each microbatch, by purpose and index. */
  readonly attempts: Map<string, number>
  /** All that came in, with its attempt and direction: a second copy is answered and dropped. */
  readonly seen: Set<string>
  /** Of the microbatches trained on; in a driver only. */
  readonly losses: Map<number, number>
  /** Held-out microbatches that this stage is done with: their losses in their driver, null elsewhere. */
  readonly measured: Map<number, number | null>
  /** Microbatches that the driver has yet to start, in order. */
  readonly unstarted: Work[]
  /** Those that it has started and that have not come home, by purpose and index. */
  readonly driving: Set<string>
  /** Of the plan that is carried out. */
  version: number
  /** Spent computing on what is trained. */
  busyMs: number
  failure: ProtocolError | null
  /** Looks again whether what it waits for has come. */
  readonly waiters: Set<() => void>
}

/** Entries of the inbox a microbatch: a forward, a backward and a start, of its attempt and of one before. */
const ENTRIES = 6

export class Pipeline {
  readonly #options: PipelineOptions
  readonly #inbox: Inbox
  readonly #kept = new Map<number, InFlight>()
  readonly #worker: MicrobatchExecutor
  #progress: Progress | null = null
  #working = false
  #closed = false

  constructor(options: PipelineOptions) {
    this.#options = options
    this.#inbox = new Inbox(ENTRIES * options.microbatches)
    this.#worker = executorOf(options.stage, options.data, this.#kept, options.buffers)
    void this.#run()
  }

  get fence(): Fence | null {
    return this.#progress?.fence ?? null
  }

  /** Microbatches that wait to be worked on, and the one that is. */
  get queuedWork(): number {
    return this.#inbox.size + Number(this.#working)
  }

  /** Drops the step in hand; from now on only work of `fence` is taken. The caller sees to the gradient sums. */
  open(fence: Fence): void {
    const old = this.#progress
    this.#inbox.clear()
    this.#kept.clear()
    this.#progress = {
      fence,
      attempts: new Map(),
      counted: new Set(),
      turned: new Set(),
      seen: new Set(),
      losses: new Map(),
      measured: new Map(),
      unstarted: [],
      driving: new Set(),
      version: -1,
      busyMs: 0,
      failure: null,
      waiters: new Set(),
    }
    // An error costs its stack, and after a step that was made nobody waits.
    if (old !== null && old.waiters.size > 0) {
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
    const progress = this.current(header)
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

  /** Takes a microbatch in. A copy of one that is already in, or of an attempt given up, changes nothing. */
  receive(header: MicrobatchHeader, tensor: Float32Array): void {
    const progress = this.check(header)
    if (!isLatest(progress, header)) return
    const key = `${header.attempt}/${header.direction}/${keyOf(header)}`
    if (progress.seen.has(key)) return
    this.#inbox.put({ header, tensor })
    progress.seen.add(key)
  }

  /** Resolves when this stage has counted each microbatch that is expected of it; starts those that it drives. */
  async prepare(question: PrepareQuestion): Promise<Omit<PrepareAnswer, 'norm'>> {
    const progress = this.expectNewer(question)
    const { version, expected, drives } = question
    progress.version = version
    const superseded = () => progress.version !== version
    this.#start(progress, 'train', drives)
    for (const look of [...progress.waiters]) look()
    await this.#until(
      progress,
      () => expected.every((index) => progress.counted.has(index)),
      superseded,
    )
    return {
      counted: [...progress.counted].sort((a, b) => a - b),
      losses: drives.map(({ index }) => ({ index, loss: progress.losses.get(index)! })),
      busySeconds: progress.busyMs / 1000,
    }
  }

  /**
   * Resolves when this stage has passed on each held-out microbatch that is expected of it, with those it drove. Once a
   * fence: who asks again after it failed has given the step up.
   */
  async evaluate(question: EvaluateQuestion): Promise<{ index: number; loss: number }[]> {
    const progress = this.current(question)
    const { measured } = progress
    this.#start(progress, 'evaluate', question.drives)
    await this.#until(progress, () => question.expected.every((index) => measured.has(index)))
    return question.drives.map(({ index }) => ({ index, loss: measured.get(index)! }))
  }

  /** @throws ProtocolError STALE if this version of the plan, or a later one, is carried out already */
  expectNewer({ version, ...fence }: Fence & { readonly version: number }): Progress {
    const progress = this.current(fence)
    if (version > progress.version) return progress
    throw new ProtocolError('STALE', `version ${version} of the plan; ${progress.version} is here`)
  }

  /** What is known under the fence. @throws ProtocolError if another is open */
  current({ run, epoch, step }: Fence): Progress {
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

  #start(progress: Progress, purpose: 'train' | 'evaluate', drives: readonly Journey[]): void {
    const { shape, wire, inFlight } = this.#options
    const { run, epoch, step } = progress.fence
    const fresh = drives
      .map(
        (journey): MicrobatchHeader => ({
          run,
          epoch,
          step,
          ...journey,
          purpose,
          direction: 'forward',
          position: -1,
          dtype: wire,
          shape: [...shape],
        }),
      )
      .filter((header) => header.attempt > (progress.attempts.get(keyOf(header)) ?? -1))
    for (const header of fresh) {
      // What comes of an earlier attempt is dropped from now on.
      isLatest(progress, header)
      const waiting = progress.unstarted.findIndex((work) => keyOf(work.header) === keyOf(header))
      if (waiting >= 0) progress.unstarted.splice(waiting, 1)
      const work = { header, tensor: null }
      // One that is driven again keeps its place among those under way.
      if (progress.driving.has(keyOf(header))) this.#inbox.put(work)
      else progress.unstarted.push(work)
    }
    this.#drive(progress, inFlight)
  }

  #drive(progress: Progress, inFlight: number): void {
    while (progress.driving.size < inFlight) {
      const work = progress.unstarted.shift()
      if (work === undefined) return
      progress.driving.add(keyOf(work.header))
      this.#inbox.put(work)
    }
  }

  async #run(): Promise<void> {
    while (!this.#closed) {
      try {
        const work = await this.#inbox.take()
        this.#working = true
        await this.#workOn(work)
      } catch {
        // Only `close` ends a take; what goes wrong in the work itself is told as trouble.
      } finally {
        this.#working = false
      }
    }
  }

  async #workOn(work: Work): Promise<void> {
    const progress = this.#progress
    const { header } = work
    // Taken before, but opened again since: between the take and this line another fence may have come.
    if (progress === null || header.epoch !== progress.fence.epoch) return
    if (header.step !== progress.fence.step || !isLatest(progress, header)) return
    const { clock } = this.#options
    const before = clock.now()
    try {
      const outcome = await this.#worker(work, progress)
      if (progress !== this.#progress) return
      if (header.purpose === 'train') progress.busyMs += clock.now() - before
      this.#settle(progress, header, outcome)
    } catch (error) {
      if (progress !== this.#progress || !isLatest(progress, header)) return
      const { stageIndex, onTrouble } = this.#options
      onTrouble({ header, to: null, error: asProtocolError(error, `stage ${stageIndex}`) })
    }
  }

  #settle(progress: Progress, header: MicrobatchHeader, outcome: Outcome): void {
    const { index, purpose } = header
    if (purpose === 'train') {
      if (outcome.loss !== undefined) progress.losses.set(index, outcome.loss)
    } else if (outcome.loss !== undefined || this.#options.stage.kind === 'body') {
      progress.measured.set(index, outcome.loss ?? null)
    }
    if (outcome.onward) void this.#handOver(progress, outcome.onward.header, outcome.onward.tensor)
    else if (progress.driving.delete(keyOf(header))) {
      this.#drive(progress, this.#options.inFlight)
    }
    for (const look of [...progress.waiters]) look()
  }

  async #handOver(progress: Progress, header: MicrobatchHeader, tensor: Float32Array) {
    const { network, stageIndex, peerOf, onTrouble } = this.#options
    const to = workerAt(header)
    const peer = peerOf(to)
    const what = `stage ${stageIndex} could not hand microbatch ${header.index} ${header.direction} to stage ${stageAt(header)} (${peer ?? `member ${to}`})`
    try {
      if (peer === undefined) throw new ProtocolError('NOT_MEMBER', 'it is not in the roster')
      await ask(network, peer, microbatch, header, {
        body: encodeTensor(header.dtype, tensor),
        timeoutMs: TIMEOUTS.handOverMs,
      })
    } catch (error) {
      if (progress !== this.#progress || !isLatest(progress, header)) return
      onTrouble({ header, to, error: asProtocolError(error, what) })
    }
  }

  #fail(progress: Progress, failure: ProtocolError): void {
    progress.failure ??= failure
    for (const look of [...progress.waiters]) look()
  }

  #until(
    progress: Progress,
    done: () => boolean,
    superseded: () => boolean = () => false,
  ): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const look = () => {
      if (progress.failure !== null) reject(progress.failure)
      else if (superseded()) reject(new ProtocolError('STALE', 'another plan took its place'))
      else if (done()) resolve()
      else return
      progress.waiters.delete(look)
    }
    progress.waiters.add(look)
    look()
    return promise
  }
}

function keyOf({ purpose, index }: MicrobatchHeader): string {
  return `${purpose}/${index}`
}

/** Of all attempts at this microbatch that are known here; notes it if it is. */
function isLatest(progress: Progress, header: MicrobatchHeader): boolean {
  const key = keyOf(header)
  if (header.attempt < (progress.attempts.get(key) ?? 0)) return false
  progress.attempts.set(key, header.attempt)
  return true
}

function asProtocolError(error: unknown, what: string): ProtocolError {
  const code = error instanceof ProtocolError ? error.code : 'INTERNAL'
  const reason = error instanceof Error ? error.message : String(error)
  return new ProtocolError(code, `${what}: ${reason}`, { cause: error })
}
