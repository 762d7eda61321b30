/** A stage that this peer holds: its state, its part in each step, and what it gives to others' recovery. */
import { decodeTensor, wireBuffer, wireBytes } from '../../protocols/codec.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { MicrobatchHeader } from '../../protocols/microbatch.ts'
import type {
  EvaluateQuestion,
  GradientsQuestion,
  PrepareAnswer,
  PrepareQuestion,
  ReduceQuestion,
} from '../../protocols/step.ts'
import { bytesOf, type StateFacts, type StatePart, sha256 } from '../../protocols/weights.ts'
import type { AnyStage, Update } from '../../stages/stage.ts'
import { allFinite } from '../base/finite.ts'
import { microbatchesInFlight } from '../run/run.ts'
import type { HeldStage } from '../run/stage-state.ts'
import type { Decision } from '../run/update.ts'
import { FrozenStates } from './frozen-states.ts'
import { Pipeline, type PipelineOptions } from './pipeline.ts'
import type { StageReplica } from './stage-replica.ts'
import type { Fence } from './step-progress.ts'
import { StepTotal, type TotalContext } from './step-total.ts'
import { TensorBuffers } from './tensor-buffers.ts'

export interface ActiveStageOptions
  extends TotalContext,
    Pick<PipelineOptions, 'network' | 'clock' | 'data' | 'peerOf' | 'onTrouble'> {
  /** The stage's state. The active stage owns it from now on. */
  readonly replica: StageReplica
}

export class ActiveStage implements HeldStage {
  readonly replica: StageReplica
  /** States that other members are fetching. */
  readonly frozen = new FrozenStates()
  readonly #options: ActiveStageOptions
  readonly #pipeline: Pipeline
  readonly #buffers: TensorBuffers
  #busySeconds = 0
  /** Total gradient of the plan whose microbatches are all counted here. */
  #total: StepTotal | null = null

  constructor(options: ActiveStageOptions) {
    const { replica } = options
    const { run } = replica
    this.replica = replica
    this.#options = options
    const { batch, context } = run.microbatch
    const inFlight = microbatchesInFlight(run)
    // For each microbatch on its way an input, and a gradient if it comes back.
    this.#buffers = new TensorBuffers(batch * context * run.model.hiddenSize, 2 * inFlight)
    this.#pipeline = new Pipeline({
      ...options,
      stage: replica.stage,
      stageIndex: replica.index,
      buffers: this.#buffers,
      shape: [batch, context, run.model.hiddenSize],
      wire: run.wire,
      inFlight,
      microbatches: Math.max(run.microbatches, run.evaluation.microbatches),
    })
  }

  get index(): number {
    return this.replica.index
  }

  get stage(): AnyStage {
    return this.replica.stage
  }

  get facts(): StateFacts {
    return this.replica.facts
  }

  /** Microbatches that the stage could work on now, the one that it works on included, and for how long it has done so. */
  get work(): { queuedWork: number; workingMs: number } {
    const { queuedWork, workingMs } = this.#pipeline
    return { queuedWork, workingMs }
  }

  /** Drops the step in progress, and starts the fence's step with empty sums. Has no effect if that step is open. */
  async open(fence: Fence): Promise<void> {
    const open = this.#pipeline.fence
    if (open?.epoch === fence.epoch && open.step === fence.step) return
    this.#endTotal()
    this.#pipeline.open(fence)
    await this.stage.zeroGradients()
  }

  /** Memory for the tensor of a microbatch. @throws ProtocolError if it does not fit the open step or this stage */
  accept(header: MicrobatchHeader, length: number): Uint8Array {
    this.#pipeline.check(header)
    const expected = wireBytes(header.dtype, elementsOf(header))
    if (length !== expected) {
      throw new ProtocolError(
        'WRONG_SHAPE',
        `microbatch ${header.index}: ${length} bytes, ${header.dtype} [${header.shape}] takes ${expected}`,
      )
    }
    return header.dtype === 'float32'
      ? this.#buffers.take()
      : wireBuffer(header.dtype, elementsOf(header))
  }

  /** Takes in a microbatch. Checks its header again: another step may have been opened while its body came. */
  receive(header: MicrobatchHeader, body: Uint8Array | undefined): void {
    const step = this.#pipeline.check(header)
    if (body?.byteLength !== wireBytes(header.dtype, elementsOf(header))) {
      throw new ProtocolError('WRONG_SHAPE', `microbatch ${header.index} came without its tensor`)
    }
    const tensor = decodeTensor(header.dtype, body, elementsOf(header))
    if (!allFinite(tensor)) {
      throw new ProtocolError(
        'NON_FINITE',
        `microbatch ${header.index} ${header.direction} holds values that are not finite`,
      )
    }
    this.#pipeline.receive({ step, header, tensor })
  }

  /**
   * Makes this holder's part of the gradients of a step. Resolves when its sums have each expected microbatch once.
   * @throws ProtocolError STALE for an old version of the plan, or if a later one takes its place
   */
  async prepare(question: PrepareQuestion): Promise<PrepareAnswer> {
    const { version, alone } = question
    // An old question that comes late must not undo what was prepared since.
    const step = this.#pipeline.current(question)
    step.expectNewer(version)
    this.#endTotal()
    const answer = await this.#pipeline.prepare(question)
    step.expectInProgress(version)
    this.#busySeconds = answer.busySeconds
    this.#total = new StepTotal(this.replica, this.#options, question, version)
    const norm = alone ? await this.#total.takeOwnSums() : null
    // The replicas' total hides which holder's sums are not finite, so that each holder checks its own.
    if (!alone && !allFinite(this.stage.sums)) {
      throw new ProtocolError(
        'NON_FINITE',
        `the gradient sums of stage ${this.index} are not finite`,
      )
    }
    return { ...answer, norm }
  }

  /** Adds up the sums of all holders. Gives the L2 norm of the mean gradient. @throws ProtocolError */
  async reduce({ version, owners, contributors, ...fence }: ReduceQuestion) {
    const total = this.#prepared(fence, version)
    return { norm: await total.reduce({ owners, contributors }) }
  }

  /** A piece of this holder's sums, or of the range of the total that it adds up. @throws ProtocolError */
  async gradients({ version, kind, offset, length, ...fence }: GradientsQuestion) {
    const total = this.#prepared(fence, version)
    const source = kind === 'total' ? await total.ownedRange() : this.stage.sums
    if (offset + length > source.length) {
      throw new ProtocolError('WRONG_SHAPE', `stage ${this.index} has ${source.length} elements`)
    }
    const body = bytesOf(source.slice(offset, offset + length))
    return { answer: { sha256: sha256(body) }, body }
  }

  /** True if the total gradient of this step is here. */
  canCommit(step: number): boolean {
    return this.#total?.fence.step === step && this.#total.isComplete
  }

  /** Applies the step. @throws ProtocolError STALE if its total gradient is not here */
  async commit(step: number, decision: Decision): Promise<{ update: Update; busySeconds: number }> {
    const total = this.#total
    if (total === null || !this.canCommit(step)) {
      throw new ProtocolError('STALE', `step ${step} is not prepared here`)
    }
    this.#total = null
    const update = await this.replica.apply(total.complete, decision)
    total.end()
    return { update, busySeconds: this.#busySeconds }
  }

  evaluate(question: EvaluateQuestion): Promise<{ index: number; loss: number }[]> {
    return this.#pipeline.evaluate(question)
  }

  /** Keeps a copy of the present state, which is that after `step`, for a member that fetches it. */
  freezeFor(member: number, step: number): Promise<void> {
    return this.frozen.freezeFor(member, step, () => this.replica.copyState())
  }

  /** A chunk of the state after `step`: a frozen copy if there is one, otherwise the present state. */
  async donate(step: number, part: StatePart, offset: number, length: number) {
    const frozen = this.frozen.after(step)
    return frozen === undefined
      ? this.replica.donate(part, offset, length)
      : this.replica.chunk(frozen[part], frozen.facts, offset, length)
  }

  async close(): Promise<void> {
    this.#endTotal()
    this.#pipeline.close()
    await this.replica.close()
  }

  #prepared(fence: Fence, version: number): StepTotal {
    this.#pipeline.current(fence)
    if (this.#total?.version === version) return this.#total
    throw new ProtocolError('STALE', `version ${version} of the plan is not prepared here`)
  }

  #endTotal(): void {
    this.#total?.end()
    this.#total = null
  }
}

function elementsOf({ shape }: MicrobatchHeader): number {
  return shape.reduce((product, size) => product * size, 1)
}
