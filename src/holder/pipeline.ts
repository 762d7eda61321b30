/**
 * Takes microbatches from the inbox, runs the stage on each, and sends the result to the next stage. A pipeline works
 * on one step at a time, which its fence names. A new fence drops all work of the step before.
 *
 * After a holder on its way is lost, a microbatch comes again under a higher attempt. The stage works on it again, and
 * adds its gradient only if the sums lack it. Messages of lower attempts are dropped.
 */
import type { Clock } from '../../protocols/clock.ts'
import { encodeTensor, type WireDtype } from '../../protocols/codec.ts'
import { ProtocolError } from '../../protocols/errors.ts'
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
import { allFinite } from '../base/finite.ts'
import { TIMEOUTS } from '../base/limits.ts'
import type { BatchSource } from '../run/batch-source.ts'
import { DriverQueue } from './driver-queue.ts'
import { Inbox, type Work } from './inbox.ts'
import { MicrobatchExecutor } from './microbatch-executor.ts'
import { type Fence, StepProgress } from './step-progress.ts'
import type { TensorBuffers } from './tensor-buffers.ts'

/** A microbatch that could not be worked on or sent on here. */
export interface Trouble {
  readonly header: MicrobatchHeader
  /** Id of the member that it could not be sent to; null if the work itself failed. */
  readonly to: number | null
  readonly error: ProtocolError
}

export interface PipelineOptions {
  readonly network: Network
  readonly clock: Clock
  readonly stage: AnyStage
  readonly stageIndex: number
  readonly data: BatchSource
  /** Memory of the tensors that arrive. */
  readonly buffers: TensorBuffers
  /** [batch, context, hidden] */
  readonly shape: readonly [number, number, number]
  /** Element type of activations and their gradients on the wire. */
  readonly wire: WireDtype
  /** Microbatches that a driver keeps on their way at once. */
  readonly inFlight: number
  /** Upper bound of the microbatches in a step or an evaluation. */
  readonly microbatches: number
  /** The peer behind a member's id; undefined if it is not in the roster. */
  peerOf(id: number): PeerId | undefined
  /** Tells the coordinator. Must not wait. */
  onTrouble(trouble: Trouble): void
}

/** Entries of the inbox for each microbatch: a forward, a backward and a start, of two successive attempts. */
const ENTRIES = 6

export class Pipeline {
  readonly #options: PipelineOptions
  readonly #inbox: Inbox
  readonly #executor: MicrobatchExecutor
  #step: StepProgress | null = null
  #driven: DriverQueue
  /** When the work on the present microbatch began, in milliseconds of the clock; null if there is none. */
  #workingSince: number | null = null
  #closed = false

  constructor(options: PipelineOptions) {
    this.#options = options
    this.#inbox = new Inbox(ENTRIES * options.microbatches)
    this.#executor = new MicrobatchExecutor(options.stage, options.data, options.buffers)
    this.#driven = this.#newDriverQueue()
    void this.#run()
  }

  /** Null until a step is opened. */
  get fence(): Fence | null {
    return this.#step?.fence ?? null
  }

  /** Microbatches that wait to be worked on, and the one in work. */
  get queuedWork(): number {
    return this.#inbox.size + Number(this.#workingSince !== null)
  }

  /** Milliseconds for which the microbatch in work has been worked on; 0 if there is none. */
  get workingMs(): number {
    const since = this.#workingSince
    return since === null ? 0 : Math.round(this.#options.clock.now() - since)
  }

  /** Drops the step in progress. From now on only work of `fence` is taken. The caller empties the gradient sums. */
  open(fence: Fence): void {
    const before = this.#step
    this.#inbox.clear()
    this.#executor.clear()
    this.#driven = this.#newDriverQueue()
    this.#step = new StepProgress(fence)
    before?.end('STALE', `step ${before.fence.step} was given up`)
  }

  close(): void {
    this.#closed = true
    const reason = 'this peer stops'
    this.#inbox.close(new ProtocolError('REFUSED', reason))
    this.#step?.end('REFUSED', reason)
    this.#executor.clear()
  }

  /** The progress of the open step. @throws ProtocolError if none is open, or it has another fence */
  current(fence: Fence): StepProgress {
    if (this.#step === null) throw new ProtocolError('REFUSED', 'no step is open here')
    this.#step.check(fence)
    return this.#step
  }

  /** Refuses a header that does not fit the open step or this stage. @throws ProtocolError */
  check(header: MicrobatchHeader): StepProgress {
    const step = this.current(header)
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
    return step
  }

  /** Enqueues a checked microbatch. A second copy of it, or one of an earlier attempt, has no effect. */
  receive(work: Work): void {
    const { step, header } = work
    if (!step.noteAttempt(header) || step.hasReceived(header)) return
    this.#inbox.put(work)
    step.markReceived(header)
  }

  /**
   * Starts the microbatches that this member drives. Resolves when the stage has counted each expected microbatch.
   * @throws ProtocolError STALE if a later version of the plan is known, or takes the place of this one
   */
  async prepare({
    version,
    expected,
    drives,
    ...fence
  }: PrepareQuestion): Promise<Omit<PrepareAnswer, 'norm'>> {
    const step = this.current(fence)
    step.beginPlan(version)
    this.#drive(step, 'train', drives)
    await step.untilCounted(expected, version)
    const { counted, busySeconds } = step
    return { counted, losses: step.lossesOf(drives), busySeconds }
  }

  /** Resolves when the stage has sent on each expected held-out microbatch, with the losses of those it drives. */
  async evaluate({ expected, drives, ...fence }: EvaluateQuestion) {
    const step = this.current(fence)
    this.#drive(step, 'evaluate', drives)
    await step.untilEvaluated(expected)
    return step.heldOutLossesOf(drives)
  }

  #drive(step: StepProgress, purpose: 'train' | 'evaluate', drives: readonly Journey[]): void {
    const { shape, wire } = this.#options
    const start = { purpose, direction: 'forward', position: -1, dtype: wire } as const
    const fresh = drives
      .map((journey): Work => {
        const header = { ...step.fence, ...journey, ...start, shape: [...shape] }
        return { step, header, tensor: null }
      })
      .filter(({ header }) => step.isNewAttempt(header))
    // Messages of earlier attempts are dropped from now on.
    for (const { header } of fresh) step.noteAttempt(header)
    this.#driven.add(fresh)
  }

  async #run(): Promise<void> {
    while (!this.#closed) {
      try {
        const work = await this.#inbox.take()
        this.#workingSince = this.#options.clock.now()
        await this.#workOn(work)
      } catch {
        // Only `close` makes `take` fail. Failures of the work itself are reported as trouble.
      } finally {
        this.#workingSince = null
      }
    }
  }

  async #workOn(work: Work): Promise<void> {
    const { step, header } = work
    // The work may have been taken just before another fence was opened.
    if (!step.isCurrent || !step.isLatest(header)) return
    const { clock, stageIndex, onTrouble } = this.#options
    const begun = clock.now()
    try {
      const { onward, loss } = await this.#executor.execute(work)
      if (!step.isCurrent) return
      expectFinite(header, onward?.tensor, loss)
      if (onward) void this.#handOver(step, onward.header, onward.tensor)
      else this.#driven.finished(work)
      this.#record(work, clock.now() - begun, loss)
    } catch (error) {
      if (!step.isCurrent || !step.isLatest(header)) return
      onTrouble({ header, to: null, error: errorOf(error, `stage ${stageIndex}`) })
    }
  }

  #record({ step, header }: Work, ms: number, loss: number | undefined): void {
    const { index, purpose } = header
    if (purpose === 'train') step.trained(index, ms, loss)
    // In the ends, embedding a held-out microbatch does not finish it: its loss does.
    else if (loss !== undefined || this.#options.stage.kind === 'body') {
      step.evaluated(index, loss ?? null)
    }
  }

  async #handOver(step: StepProgress, header: MicrobatchHeader, tensor: Float32Array) {
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
      if (!step.isCurrent || !step.isLatest(header)) return
      onTrouble({ header, to, error: errorOf(error, what) })
    }
  }

  #newDriverQueue(): DriverQueue {
    return new DriverQueue(this.#options.inFlight, (work) => this.#inbox.put(work))
  }
}

/** The input was finite. So the fault is with this peer, the weights or the tokens, and not with who sent the input. */
function expectFinite(
  { index, direction }: MicrobatchHeader,
  tensor: Float32Array | undefined,
  loss = 0,
): void {
  if (Number.isFinite(loss) && (tensor === undefined || allFinite(tensor))) return
  throw new ProtocolError(
    'NON_FINITE',
    `microbatch ${index} ${direction} gives values that are not finite`,
  )
}

function errorOf(error: unknown, what: string): ProtocolError {
  const code = error instanceof ProtocolError ? error.code : 'INTERNAL'
  const reason = error instanceof Error ? error.message : String(error)
  return new ProtocolError(code, `${what}: ${reason}`, { cause: error })
}
