/** The signal by which a node leaves: its user stops it, or a cloud announces that it takes the machine back. */
import type { Clock } from '../../protocols/clock.ts'
import { SPOT_MARGIN_MS, TIMEOUTS } from '../base/limits.ts'
import type { Departure } from './leave-run.ts'
import { type SpotProvider, watchSpotNotice } from './spot-notice.ts'

export interface DepartureSignalOptions {
  readonly clock: Clock
  /** Aborts when the user stops the node. */
  readonly signal: AbortSignal
  /** Cloud whose notice makes the node leave. `auto` finds out which cloud it is; `off` asks no metadata service. */
  readonly spot: SpotProvider | 'auto' | 'off'
  /** URL of the metadata service; undefined for the provider's own address. */
  readonly spotUrl: string | undefined
}

/**
 * Runs `work` under a signal that aborts when the user stops the node, or a spot notice comes. With a spot notice the
 * signal's reason is a `Departure`.
 * @throws InputError if there is no metadata service
 */
export async function withDepartureSignal<T>(
  { clock, signal, spot, spotUrl }: DepartureSignalOptions,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  if (spot === 'off') return work(signal)
  const leaving = new AbortController()
  const stop = () => leaving.abort(signal.reason)
  signal.addEventListener('abort', stop, { once: true })
  if (signal.aborted) stop()
  const over = new AbortController()
  const watchFailed = Promise.withResolvers<never>()
  watchFailed.promise.catch(() => {})
  watchSpotNotice({ clock, fetch, provider: spot, signal: over.signal, baseUrl: spotUrl }).then(
    ({ noticeMs, detail }) => {
      const withinMs = Math.max(0, (noticeMs ?? TIMEOUTS.drainMs) - SPOT_MARGIN_MS)
      const departure: Departure = { reason: detail, withinMs }
      leaving.abort(departure)
    },
    (error: Error) => {
      if (over.signal.aborted) return
      leaving.abort(error)
      watchFailed.reject(error)
    },
  )
  try {
    const result = await work(leaving.signal)
    // A failed watch is an error even if the work has succeeded: a spot notice would have been missed.
    return await Promise.race([watchFailed.promise, Promise.resolve(result)])
  } finally {
    over.abort(new Error('the node has ended'))
    signal.removeEventListener('abort', stop)
  }
}
