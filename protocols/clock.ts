/** The seam to time. The only file that touches the system's clock and timers. */
import { onAbort } from './abort.ts'
import { ProtocolError } from './errors.ts'

/** An hour, as clocks count. */
export const HOUR_MS = 3_600_000

export interface Clock {
  /** Milliseconds; the origin is the Unix epoch in the real world and 0 in a simulated one. */
  now(): number
  /** Resolves after `ms`; rejects with the signal's reason if that aborts first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
}

export const systemClock: Clock = {
  now: () => performance.timeOrigin + performance.now(),
  sleep: (ms, signal) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason)
      const timer = setTimeout(() => {
        remove?.()
        resolve()
      }, ms)
      const remove =
        signal &&
        onAbort(signal, () => {
          clearTimeout(timer)
          reject(signal.reason)
        })
    }),
}

export interface Deadline {
  readonly clock: Clock
  readonly timeoutMs: number
  readonly signal?: AbortSignal | undefined
}

/** Made once: an error of its own a call, with its stack, would cost more than the rest of a deadline. */
const OVER = new Error('what was waited for is over')

/**
 * Runs `work` under a deadline. The signal that it gets aborts at the deadline, when the outer signal does, and when
 * the work is over, so that whatever hangs on it is freed.
 * @param waitingFor who or what is waited for: "peer 12D3…x4 to accept microbatch 3"
 * @throws ProtocolError TIMEOUT that names `waitingFor`
 */
export async function withDeadline<T>(
  { clock, timeoutMs, signal }: Deadline,
  waitingFor: string,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  signal?.throwIfAborted()
  const over = new AbortController()
  const aborted = Promise.withResolvers<never>()
  const remove =
    signal &&
    onAbort(signal, () => {
      aborted.reject(signal.reason)
      over.abort(signal.reason)
    })
  const expired = clock.sleep(timeoutMs, over.signal).then(() => {
    const error = new ProtocolError('TIMEOUT', `waited ${timeoutMs} ms for ${waitingFor}`)
    over.abort(error)
    throw error
  })
  expired.catch(() => {})
  aborted.promise.catch(() => {})
  try {
    return await Promise.race([work(over.signal), expired, aborted.promise])
  } finally {
    remove?.()
    over.abort(OVER)
  }
}
