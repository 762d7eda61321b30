/**
 * What has happened in one step under one fence. Work belongs to the progress that was open when it came in. Once
 * another fence is opened, the progress has ended and its work must not touch the stage's sums any more.
 */
import { ProtocolError, type ProtocolErrorCode } from '../../protocols/errors.ts'
import { checkRun } from '../../protocols/membership.ts'
import type { MicrobatchHeader } from '../../protocols/microbatch.ts'

/** Names a step, and the epoch since which its gradient sums have been growing. */
export interface Fence {
  readonly run: string
  readonly epoch: number
  readonly step: number
}

/** Names a microbatch of one step, whatever its attempt and direction. */
export function keyOf({ purpose, index }: MicrobatchHeader): string {
  return `${purpose}/${index}`
}

export class StepProgress {
  readonly fence: Fence
  /** Highest known attempt of each microbatch, by key. */
  readonly #attempts = new Map<string, number>()
  /** Messages taken in, by attempt, direction and key. */
  readonly #received = new Set<string>()
  /** Indices of the microbatches whose gradients are in this stage's sums. */
  readonly #counted = new Set<number>()
  /** Indices of the microbatches whose head gradients are in the sums. Used by the ends only. */
  readonly #turned = new Set<number>()
  /** Training losses by microbatch index. Known to their driver only. */
  readonly #losses = new Map<number, number>()
  /** Held-out microbatches that this stage has finished: the loss in its driver, null elsewhere. */
  readonly #evaluated = new Map<number, number | null>()
  /** Each checks whether what it waits for has happened. */
  readonly #waiters = new Set<() => void>()
  #version = -1
  #busyMs = 0
  /** Why the progress has ended; null while it is current. */
  #end: { readonly code: ProtocolErrorCode; readonly reason: string } | null = null

  constructor(fence: Fence) {
    this.fence = fence
  }

  /** False once another fence was opened: the sums belong to another step then. */
  get isCurrent(): boolean {
    return this.#end === null
  }

  /** @throws ProtocolError WRONG_RUN or STALE if the fence is another one */
  check({ run, epoch, step }: Fence): void {
    const { fence } = this
    checkRun(fence.run, run)
    if (epoch !== fence.epoch || step !== fence.step) {
      throw new ProtocolError(
        'STALE',
        `epoch ${epoch} step ${step}; this peer is at epoch ${fence.epoch} step ${fence.step}`,
      )
    }
  }

  /** @throws ProtocolError STALE if this version of the plan, or a later one, is in progress already */
  expectNewer(version: number): void {
    if (version > this.#version) return
    throw new ProtocolError('STALE', `version ${version} of the plan; ${this.#version} is here`)
  }

  /** @throws ProtocolError STALE if another version of the plan, or another step, has begun */
  expectInProgress(version: number): void {
    if (this.isCurrent && version === this.#version) return
    throw new ProtocolError('STALE', 'another plan took its place')
  }

  /** Begins a version of the plan. Whatever waits for an earlier version fails. @throws ProtocolError STALE */
  beginPlan(version: number): void {
    this.expectNewer(version)
    this.#version = version
    this.#notify()
  }

  /** Notes the attempt. False if a higher attempt of the microbatch is known. */
  noteAttempt(header: MicrobatchHeader): boolean {
    if (!this.isLatest(header)) return false
    this.#attempts.set(keyOf(header), header.attempt)
    return true
  }

  isLatest(header: MicrobatchHeader): boolean {
    return header.attempt >= (this.#attempts.get(keyOf(header)) ?? 0)
  }

  /** True if no attempt as high as this one is known. */
  isNewAttempt(header: MicrobatchHeader): boolean {
    return header.attempt > (this.#attempts.get(keyOf(header)) ?? -1)
  }

  hasReceived(header: MicrobatchHeader): boolean {
    return this.#received.has(messageKeyOf(header))
  }

  markReceived(header: MicrobatchHeader): void {
    this.#received.add(messageKeyOf(header))
  }

  isCounted(index: number): boolean {
    return this.#counted.has(index)
  }

  /** Call when the gradient of a microbatch is in the sums. */
  count(index: number): void {
    this.#counted.add(index)
  }

  isTurned(index: number): boolean {
    return this.#turned.has(index)
  }

  /** Call when the head's gradient of a microbatch is in the sums. It is counted when the embedding's is, too. */
  turn(index: number): void {
    this.#turned.add(index)
  }

  /** Records that work on a training microbatch took `ms`, and its loss if it was computed here. */
  trained(index: number, ms: number, loss: number | undefined): void {
    this.#busyMs += ms
    if (loss !== undefined) this.#losses.set(index, loss)
    this.#notify()
  }

  /** Records that this stage has finished a held-out microbatch. @param loss null where it was not computed here */
  evaluated(index: number, loss: number | null): void {
    this.#evaluated.set(index, loss)
    this.#notify()
  }

  /** Seconds that this member has spent computing on training microbatches. */
  get busySeconds(): number {
    return this.#busyMs / 1000
  }

  /** Indices of the counted microbatches, in ascending order. */
  get counted(): number[] {
    return [...this.#counted].sort((a, b) => a - b)
  }

  /** Training losses of microbatches that this member has driven. */
  lossesOf(driven: readonly { readonly index: number }[]): { index: number; loss: number }[] {
    return driven.map(({ index }) => ({ index, loss: this.#losses.get(index)! }))
  }

  /** Held-out losses of microbatches that this member has driven. */
  heldOutLossesOf(
    driven: readonly { readonly index: number }[],
  ): { index: number; loss: number }[] {
    return driven.map(({ index }) => ({ index, loss: this.#evaluated.get(index)! }))
  }

  /** Resolves when all these are counted. @throws ProtocolError STALE once a later version begins or the step ends */
  untilCounted(indices: readonly number[], version: number): Promise<void> {
    return this.#until(
      () => indices.every((index) => this.#counted.has(index)),
      () => this.#version !== version,
    )
  }

  /** Resolves when this stage has finished all these held-out microbatches. @throws ProtocolError if the step ends */
  untilEvaluated(indices: readonly number[]): Promise<void> {
    return this.#until(
      () => indices.every((index) => this.#evaluated.has(index)),
      () => false,
    )
  }

  /** Ends the progress. Whatever waits for it fails with `reason`. */
  end(code: ProtocolErrorCode, reason: string): void {
    this.#end ??= { code, reason }
    this.#notify()
  }

  #notify(): void {
    for (const look of [...this.#waiters]) look()
  }

  #until(done: () => boolean, superseded: () => boolean): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const look = () => {
      if (this.#end !== null) reject(new ProtocolError(this.#end.code, this.#end.reason))
      else if (superseded()) reject(new ProtocolError('STALE', 'another plan took its place'))
      else if (done()) resolve()
      else return
      this.#waiters.delete(look)
    }
    this.#waiters.add(look)
    look()
    return promise
  }
}

function messageKeyOf(header: MicrobatchHeader): string {
  return `${header.attempt}/${header.direction}/${keyOf(header)}`
}
