/** How long work may take that moves bytes: a base, and the time of the bytes on the slowest link that the node allows for. */
import { BYTES_PER_MS_MIN } from './limits.ts'

/**
 * A deadline in milliseconds that knows the size.
 * @param baseMs deadline of the work without its bytes
 */
export function deadlineFor(baseMs: number, bytes: number): number {
  return baseMs + Math.ceil(bytes / BYTES_PER_MS_MIN)
}
