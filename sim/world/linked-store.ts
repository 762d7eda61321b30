/** A store in memory at the other end of a link. Each transfer has the link to itself. */
import type { Clock } from '../../protocols/clock.ts'
import type { Store } from '../../src/checkpoint/store.ts'
import { MemoryStore } from './memory-store.ts'
import { jsonFileBytes } from './message-size.ts'
import type { Link } from './wire.ts'

/** @param onStored hears the bytes that each file counts as it is written */
export function linkedStore(
  clock: Clock,
  { latencyMs, bytesPerMs }: Link,
  onStored: (bytes: number) => void = () => {},
): Store {
  const store = new MemoryStore()
  const transfer = (bytes: number) => clock.sleep(2 * latencyMs + bytes / bytesPerMs)
  return {
    location: store.location,
    list: async (prefix) => {
      await transfer(0)
      return store.list(prefix)
    },
    read: async (name, offset, into) => {
      // Files of JSON are small and read whole.
      const content = isJson(name) ? store.files.get(name) : undefined
      await transfer(content === undefined ? into.length : jsonFileBytes(content))
      await store.read(name, offset, into)
    },
    write: async (name, content) => {
      const bytes = isJson(name)
        ? jsonFileBytes(Buffer.concat(content))
        : content.reduce((sum, { length }) => sum + length, 0)
      await transfer(bytes)
      onStored(bytes)
      await store.write(name, content)
    },
    remove: async (name) => {
      await transfer(0)
      await store.remove(name)
    },
  }
}

/** Manifests and parts of checkpoints: their norms have digits. */
function isJson(name: string): boolean {
  return name.endsWith('.json')
}
