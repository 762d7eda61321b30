/**
 * V8 counts array buffers against a limit of its own, 64 MB since the last full collection, however few of them are
 * alive. A small model's frames and activations pass it about once a second and die young, so that nearly every full
 * collection finds nothing. The flag counts them with the rest of the heap instead.
 */
import { setFlagsFromString } from 'node:v8'

/**
 * The largest activation for which that holds. Buffers of 256 KiB then stand 50 MB higher at the peak; those of 8 MB
 * would stand gigabytes higher, and their collections are few beside the work that goes with them.
 */
const ACTIVATION_MAX_BYTES = 1024 * 1024

/** V8 of Node 24; older ones do not know the flag, and say so on standard error. */
const V8_SINCE = [13, 6] as const

/**
 * To be called before there is much to collect.
 * @param activationBytes of one microbatch between two stages
 */
export function tuneCollector(activationBytes: number): void {
  const [major = 0, minor = 0] = process.versions.v8.split('.').map(Number)
  if (major < V8_SINCE[0] || (major === V8_SINCE[0] && minor < V8_SINCE[1])) return
  if (activationBytes <= ACTIVATION_MAX_BYTES) {
    setFlagsFromString('--external-memory-accounted-in-global-limit')
  }
}
