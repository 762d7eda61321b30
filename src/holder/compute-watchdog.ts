/**
 * Watches the calls to a stage's thread. A thread that does not answer a call for far longer than usual hangs: it is given up,
 * and its calls fail as those of a thread that died. So this peer gives its stage up, and is free to build another one.
 */
import type { Clock } from '../../protocols/clock.ts'
import type { CallGuard } from '../../stages/worker-stage.ts'
import { COMPUTE_FACTOR, TIMEOUTS } from '../base/limits.ts'

/** Parts of a wait. A machine that slept for a while has slept through one part at most. */
const PARTS = 4

/** Gives the guard of the calls to one thread. */
export function watchCompute(clock: Clock, stage: number): CallGuard {
  /** Longest time that a call of each method has taken, in milliseconds. */
  const usual = new Map<string, number>()
  return async (method, call, giveUp) => {
    const begun = clock.now()
    const known = usual.get(method)
    const limitMs =
      known === undefined
        ? TIMEOUTS.computeFirstMs
        : Math.max(TIMEOUTS.computeMs, COMPUTE_FACTOR * known)
    const over = new AbortController()
    const watch = async () => {
      for (let part = 0; part < PARTS; part++) await clock.sleep(limitMs / PARTS, over.signal)
      const seconds = (ms: number) => `${(ms / 1000).toPrecision(3)} s`
      const before = known === undefined ? 'it never did before' : `usually ${seconds(known)}`
      giveUp(
        `the thread of stage ${stage} hangs: it has not answered ${method} for ${seconds(limitMs)} (${before})`,
      )
    }
    watch().catch(() => {})
    try {
      return await call
    } finally {
      over.abort()
      usual.set(method, Math.max(known ?? 0, clock.now() - begun))
    }
  }
}
