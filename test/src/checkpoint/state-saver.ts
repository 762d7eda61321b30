/** A process that writes state after state to its disk until it is killed. It reports the beginning of every change. */
import { DirectoryStore } from '../../../src/checkpoint/directory-store.ts'
import { StageDisk } from '../../../src/checkpoint/stage-disk.ts'
import type { Store } from '../../../src/checkpoint/store.ts'
import { partsOf, stateOf } from './small-state.ts'

const [folder, first] = process.argv.slice(2) as [string, string]
const directory = new DirectoryStore(folder)
const store: Store = {
  location: folder,
  list: (prefix) => directory.list(prefix),
  read: (name, offset, into) => directory.read(name, offset, into),
  write: (name, content) => {
    process.send!({})
    return directory.write(name, content)
  },
  remove: (name) => {
    process.send!({})
    return directory.remove(name)
  },
}
const disk = new StageDisk({ store, pause: async () => {} })
await disk.scanned
for (let step = Number(first); ; step++) {
  await disk.write(stateOf(step), partsOf(step))
  process.send!({ committed: step })
  await disk.retain((holding) => holding.step >= step - 1)
}
