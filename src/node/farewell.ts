/** What makes a node leave before the run ends: its user, or the cloud that takes its machine back. */
import type { Clock } from '../../protocols/clock.ts'
import { SPOT_MARGIN_MS, TIMEOUTS } from '../base/limits.ts'
import type { Farewell } from './node.ts'
import { type SpotProvider, watchSpotNotice } from './spot-notice.ts'

export interface FarewellOptions {
  readonly clock: Clock
  /** The user's. */
  readonly signal: AbortSignal
  /** `off` asks no metadata service at all. */
  readonly spot: SpotProvider | 'auto' | 'off'
  /** Where the metadata service answers; undefined: at the provider's own address. */
  readonly spotUrl: string | undefined
}

/**
 * Runs `work` under a signal that aborts when the node is to go, by whichever of the two comes first.
 * @throws InputError if there is no metadata service to listen to
 */
export async function untilFarewell<T>(
  { clock, signal, spot, spotUrl }: FarewellOptions,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  if (spot === 'off') return work(signal)
  const leaving = new AbortController()
  const stop = () => leaving.abort(signal.reason)
  signal.addEventListener('abort', stop, { once: true })
  if (signal.aborted) stop()
  const over = new AbortController()
  const deaf = Promise.withResolvers<never>()
  deaf.promise.catch(() => {})
  watchSpotNotice({ clock, fetch, provider: spot, signal: over.signal, baseUrl: spotUrl }).then(
    ({ noticeMs, detail }) => {
      const withinMs = Math.max(0, (noticeMs ?? TIMEOUTS.drainMs) - SPOT_MARGIN_MS)
      const farewell: Farewell = { reason: detail, withinMs }
      leaving.abort(farewell)
    },
    (error: Error) => {
      if (over.signal.aborted) return
      leaving.abort(error)
      deaf.reject(error)
    },
  )
  try {
    const result = await work(leaving.signal)
    // Whoever asked to be warned is not told that all is well when nobody could have warned it.
    return await Promise.race([deaf.promise, Promise.resolve(result)])
  } finally {
    over.abort(new Error('the node has ended'))
    signal.removeEventListener('abort', stop)
  }
}
