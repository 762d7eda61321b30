/** A process that saves step after step until it is killed. It reports the beginning of every change to its parent. */
import { DirectoryStore } from '../../../src/checkpoint/directory-store.ts'
import { retain } from '../../../src/checkpoint/steps.ts'
import type { Store } from '../../../src/checkpoint/store.ts'
import { saveSmallStep } from './small-step.ts'

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
for (let step = Number(first); ; step++) {
  await saveSmallStep(store, step)
  process.send!({ committed: step })
  await retain(store, 2)
}
