/** An interrupted save leaves the checkpoint of the step before complete. */
import { expect, test } from 'vitest'
import { MemoryStore } from '../../../sim/world/memory-store.ts'
import { latestComplete, retain } from '../../../src/checkpoint/steps.ts'
import type { Store } from '../../../src/checkpoint/store.ts'
import { temporaryFolder } from '../../fixtures/folder.ts'
import { survivals } from './kills.ts'
import { holdsSmallStep, saveSmallStep } from './small-step.ts'

async function expectComplete(store: Store): Promise<void> {
  const manifest = (await latestComplete(store, { depth: 'content' }))!
  expect(await holdsSmallStep(store, manifest)).toBe(true)
}

test('the step before is complete if a save or a clean-up stops after any number of changes to the store', async () => {
  const store = new MemoryStore()
  await saveSmallStep(store, 1)
  for (let survived = 0; ; survived++) {
    const done = await interrupted(store, survived, async (cut) => {
      await saveSmallStep(cut, 2)
      await retain(cut, 1)
    })
    await expectComplete(store)
    if (done) {
      expect(survived).toBeGreaterThan(20)
      return
    }
    // The save is repeated over the remaining files. At the end, step 2 is complete.
    await saveSmallStep(store, 1)
  }
})

/** Runs `work` until the store was changed `changes` times. Gives true if the work ended before. */
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

test('a step is complete after kills within a flush; npm run test:kills repeats this more often', async () => {
  for await (const { committed, complete, exact } of survivals(temporaryFolder(), 4)) {
    expect(complete).toBeGreaterThanOrEqual(committed)
    expect(exact).toBe(true)
  }
})
