/** A stage computed in its own thread, so that the caller's thread stays free. */
import type { StageOptions } from './engine.ts'
import type { StageConfig } from './model.ts'
import type { StageAt } from './onnx-stage.ts'
import { ENDS } from './parameters.ts'
import type { Elements } from './session.ts'
import { stageOn } from './stage-calls.ts'
import { StageThread } from './stage-thread.ts'
import { startThread } from './thread-start.ts'
import type { WorkerInit } from './worker-messages.ts'

/**
 * Watches one call to the thread, and gives its result.
 * @param giveUp gives up a thread that hangs: the call and all later ones fail with StageGoneError
 */
export type CallGuard = (
  method: string,
  call: Promise<unknown>,
  giveUp: (reason: string) => void,
) => Promise<unknown>

/** @param guard watches all calls to the thread; by default a call may take any time */
export async function createWorkerStage<N extends number>(
  config: StageConfig,
  stage: N,
  { random, ...options }: StageOptions,
  guard: CallGuard = (_, call) => call,
): Promise<StageAt<N>> {
  const init: WorkerInit = { config, stage, options, random: random.path }
  const thread = new StageThread(startThread(init), stage)
  const shown = await thread.ready.catch(async (error: unknown) => {
    await thread.ended
    throw error
  })
  return stageOn(stage === ENDS ? 'ends' : 'body', config, {
    ...shown,
    call: (method, args) =>
      guard(method, thread.call(method, args.map(owned)), (reason) => thread.giveUp(reason)),
    close: () => thread.close(),
  }) as StageAt<N>
}

/**
 * Copies the arrays of an argument, so that the copies can be transferred. Shared memory is not copied. A view without a copy
 * would bring its whole buffer along.
 */
function owned(argument: unknown): unknown {
  if (ArrayBuffer.isView(argument)) {
    const array = argument as Elements
    return array.buffer instanceof SharedArrayBuffer ? array : array.slice()
  }
  if (typeof argument !== 'object' || argument === null) return argument
  return Object.fromEntries(Object.entries(argument).map(([key, value]) => [key, owned(value)]))
}
