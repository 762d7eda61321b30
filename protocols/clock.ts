/** The interface to time. Only this file uses the system's clock and timers. */
import { onAbort } from './abort.ts'
import { ProtocolError } from './errors.ts'

/** Milliseconds of an hour. */
export const HOUR_MS = 3_600_000

export interface Clock {
  /** Milliseconds since the Unix epoch, or since the beginning of a simulation. */
  now(): number
  /** Resolves after `ms` milliseconds. Rejects with the signal's reason if the signal aborts first. */
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

/** Created once, because an error with its stack for each call would cost more than the rest of a deadline. */
const OVER = new Error('the work under this deadline is over')

/**
 * Runs `work` under a deadline. The signal passed to `work` aborts at the deadline, with the outer signal, and when the work
 * is over, which frees all listeners of that signal.
 * @param waitingFor for the error message, such as "peer 12D3…x4 to accept microbatch 3"
 * @throws ProtocolError TIMEOUT that names `waitingFor`; the reason of the outer signal
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
