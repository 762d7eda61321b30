/** Messages between a stage's thread and its owner. */
import type { StageOptions } from './engine.ts'
import type { StageConfig } from './model.ts'
import type { Shown } from './stage-calls.ts'

/** Parameters of a new thread. */
export interface WorkerInit {
  readonly config: StageConfig
  readonly stage: number
  readonly options: Omit<StageOptions, 'random'>
  /** Path of the Random that draws the initial weights. */
  readonly random: string
}

/** Call to the thread. `close` is the last method of a thread. */
export interface WorkerCall {
  readonly id: number
  readonly method: string
  readonly args: readonly unknown[]
}

/** Reply of the thread: one with id {@link READY} first, then one for each call. */
export type WorkerReply =
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly error: unknown }

/** Id of the reply with a {@link WorkerReady}, or with the error of a stage that could not be created. */
export const READY = 0

export type WorkerReady = Shown

/** Buffers of the arrays in a message that are not shared, to be transferred instead of copied. */
export function buffersOf(message: readonly unknown[]): ArrayBuffer[] {
  return message.flatMap((item) => {
    if (ArrayBuffer.isView(item)) return item.buffer instanceof ArrayBuffer ? [item.buffer] : []
    return typeof item === 'object' && item !== null ? buffersOf(Object.values(item)) : []
  })
}
