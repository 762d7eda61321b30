/** Asks many peers until the first one answers. */
import { onAbort } from '../../protocols/abort.ts'
import type { Clock } from '../../protocols/clock.ts'
import { SEARCH_LANES } from '../base/limits.ts'

interface Asking {
  readonly clock: Clock
  readonly signal: AbortSignal
  /** Time after which one more target is asked while no answer has come, in milliseconds. */
  readonly staggerMs: number
}

/**
 * Asks the targets in their order. The next target is asked when one has given null, or after `staggerMs`. At most
 * SEARCH_LANES targets are asked at the same time. The first answer ends all other questions.
 * @returns null if every target gives null
 * @throws the first error of `ask`; the reason of the signal
 */
export async function firstAnswer<Target, Answer>(
  { clock, signal, staggerMs }: Asking,
  targets: readonly Target[],
  ask: (target: Target, signal: AbortSignal) => Promise<Answer | null>,
): Promise<Answer | null> {
  signal.throwIfAborted()
  const over = new AbortController()
  const remove = onAbort(signal, () => over.abort(signal.reason))
  const first = Promise.withResolvers<Answer | null>()
  const waiting = targets.values()
  let unasked = targets.length

  /** Asks one target after another. Never rejects. */
  const lane = async () => {
    try {
      for (const target of waiting) {
        unasked--
        const answer = await ask(target, over.signal)
        if (answer !== null) return first.resolve(answer)
      }
    } catch (error) {
      first.reject(error)
    }
  }
  const allLanes = async () => {
    const lanes: Promise<void>[] = []
    while (unasked > 0 && lanes.length < SEARCH_LANES) {
      lanes.push(lane())
      await Promise.race([Promise.all(lanes), clock.sleep(staggerMs, over.signal)])
    }
    await Promise.all(lanes)
    first.resolve(null)
  }
  allLanes().catch(first.reject)
  try {
    return await first.promise
  } finally {
    remove()
    over.abort(new Error('another target has answered'))
  }
}
