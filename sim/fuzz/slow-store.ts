/** The store of checkpoints that all peers of a fuzzed swarm share. */
import type { Clock } from '../../protocols/clock.ts'
import type { Store } from '../../src/checkpoint/store.ts'
import type { Random } from '../../stages/random.ts'
import type { StoreCase } from './case.ts'

/** The store as one peer sees it: writes are delayed, and some fail. A crash ends the writes of a peer. */
export function slowStore(
  store: Store,
  { writeMs, failing }: StoreCase,
  clock: Clock,
  random: Random,
): Store {
  return {
    location: store.location,
    list: (prefix) => store.list(prefix),
    read: (name, offset, into) => store.read(name, offset, into),
    remove: (name) => store.remove(name),
    async write(name, content) {
      const fails = random.float() < failing
      await clock.sleep(2 * random.float() * writeMs)
      if (fails) throw new Error('ENOSPC: no space left on device')
      await store.write(name, content)
    },
  }
}
