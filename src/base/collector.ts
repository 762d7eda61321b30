/**
 * Tunes V8's garbage collector for small models. V8 starts a full collection after 64 MB of new array buffers, even if
 * few of them are alive. A small model's frames and activations reach this limit about once a second and die young, so
 * that nearly every full collection finds nothing. The flag counts array buffers with the rest of the heap instead.
 */
import { setFlagsFromString } from 'node:v8'

/**
 * Largest activation, in bytes, for which the flag is set. With activations of 256 KiB the flag raises peak memory by
 * 50 MB. With activations of 8 MB it would raise the peak by gigabytes, and full collections cost little there.
 */
const ACTIVATION_MAX_BYTES = 1024 * 1024

/** First V8 version, that of Node 24, which knows the flag. An older V8 prints a warning on standard error. */
const V8_SINCE = [13, 6] as const

/**
 * Sets the flag for small activations. Call it at the start of a process, before the heap grows.
 * @param activationBytes size of one microbatch's activation between two stages, in bytes
 */
export function tuneCollector(activationBytes: number): void {
  const [major = 0, minor = 0] = process.versions.v8.split('.').map(Number)
  if (major < V8_SINCE[0] || (major === V8_SINCE[0] && minor < V8_SINCE[1])) return
  if (activationBytes <= ACTIVATION_MAX_BYTES) {
    setFlagsFromString('--external-memory-accounted-in-global-limit')
  }
}
