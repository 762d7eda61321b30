/** Whenever a save ends before its time, the step before is there whole. */
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { DirectoryStore } from '../../../src/checkpoint/directory-store.ts'
import { latestComplete, retain } from '../../../src/checkpoint/steps.ts'
import type { Store } from '../../../src/checkpoint/store.ts'
import { temporaryFolder } from '../../fixtures/folder.ts'
import { MemoryStore } from './memory-store.ts'
import { holdsSmallStep, saveSmallStep } from './small-step.ts'

async function expectComplete(store: Store, atLeast: number): Promise<number> {
  const manifest = (await latestComplete(store, { depth: 'content' }))!
  expect(manifest.step).toBeGreaterThanOrEqual(atLeast)
  expect(await holdsSmallStep(store, manifest)).toBe(true)
  return manifest.step
}

test('after any number of changes to the store that a save and a clean-up make', async () => {
  const store = new MemoryStore()
  await saveSmallStep(store, 1)
  for (let survived = 0; ; survived++) {
    const done = await interrupted(store, survived, async (cut) => {
      await saveSmallStep(cut, 2)
      await retain(cut, 1)
    })
    await expectComplete(store, 1)
    if (done) {
      expect(survived).toBeGreaterThan(20)
      return
    }
    // The same again over what is left behind; at the end of it all, step 2 is whole.
    await saveSmallStep(store, 1)
  }
})

/** Does `work` until the store has been changed `changes` times; true if it came to its end. */
async function interrupted(
  store: MemoryStore,
  changes: number,
  work: (store: Store) => Promise<void>,
): Promise<boolean> {
  let left = changes
  const spend = () => {
    if (left-- === 0) throw new Error('interrupted')
  }
  const cut: Store = {
    location: store.location,
    list: (prefix) => store.list(prefix),
    read: (name, offset, into) => store.read(name, offset, into),
    write: async (name, content) => {
      spend()
      await store.write(name, content)
    },
    remove: async (name) => {
      spend()
      await store.remove(name)
    },
  }
  return work(cut).then(
    () => true,
    (error: Error) => {
      if (error.message !== 'interrupted') throw error
      return false
    },
  )
}

const SAVER = fileURLToPath(new URL('./saver.ts', import.meta.url))
const KILLS = 20

test(`after ${KILLS} kills in the middle of a flush`, async () => {
  const folder = temporaryFolder()
  const store = new DirectoryStore(folder)
  await saveSmallStep(store, 1)
  let committed = 1
  for (let kill = 0; kill < KILLS; kill++) {
    const child = fork(SAVER, [folder, String(committed + 1)])
    onTestFinished(() => {
      child.kill('SIGKILL')
    })
    committed = Math.max(committed, await killAfter(child, 3 + 2 * kill))
    committed = await expectComplete(store, committed)
  }
})

/** Kills a saver when it begins so many changes to its store. @returns the last step that it had committed */
async function killAfter(child: ChildProcess, changes: number): Promise<number> {
  let begun = 0
  let committed = 0
  child.on('message', (message: { committed?: number }) => {
    if (message.committed !== undefined) committed = message.committed
    else if (++begun === changes) child.kill('SIGKILL')
  })
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve) =>
    child.on('exit', (...end) => resolve(end)),
  )
  expect([code, signal]).toEqual([null, 'SIGKILL'])
  return committed
}
