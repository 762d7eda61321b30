/** What a stage's thread and its owner say to each other. */
import type { StageOptions } from './engine.ts'
import type { StageConfig } from './model.ts'
import type { Shown } from './stage-calls.ts'

/** What the thread is started with. */
export interface WorkerInit {
  readonly config: StageConfig
  readonly stage: number
  readonly options: Omit<StageOptions, 'random'>
  /** Path of the Random that initial weights are drawn from. */
  readonly random: string
}

/** To the thread. `close` is a method like the others, and the last. */
export interface WorkerCall {
  readonly id: number
  readonly method: string
  readonly args: readonly unknown[]
}

/** From the thread: first one with id {@link READY}, then one a call. */
export type WorkerReply =
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly error: unknown }

/** The id of the reply that brings a {@link WorkerReady}, or says why there is no stage. */
export const READY = 0

export type WorkerReady = Shown

/** Unshared buffers of the arrays in a message, to hand over instead of copying. */
export function buffersOf(message: readonly unknown[]): ArrayBuffer[] {
  return message.flatMap((item) => {
    if (ArrayBuffer.isView(item)) return item.buffer instanceof ArrayBuffer ? [item.buffer] : []
    return typeof item === 'object' && item !== null ? buffersOf(Object.values(item)) : []
  })
}
