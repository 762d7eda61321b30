import type { AnyStage } from '../../stages/stage.ts'
import { StageGoneError } from '../../stages/stage-calls.ts'

/** The same stage. @param gone called once when a call fails because the stage's thread has died or hangs */
export function noticingStage<S extends AnyStage>(stage: S, gone: (reason: string) => void): S {
  let isGone = false
  const fields = Object.entries(stage).map(([name, value]: [string, unknown]) => {
    if (typeof value !== 'function' || name === 'close') return [name, value]
    const call = async (...args: readonly unknown[]) => {
      try {
        return await value(...args)
      } catch (error) {
        if (error instanceof StageGoneError && !isGone) {
          isGone = true
          gone(error.message)
        }
        throw error
      }
    }
    return [name, call]
  })
  return Object.fromEntries(fields)
}
