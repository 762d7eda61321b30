/** States on a peer's disk are whole, exact, finite and bounded, or they are not there. */
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { bytesOf } from '../../../protocols/weights.ts'
import { MemoryStore } from '../../../sim/world/memory-store.ts'
import { DirectoryStore } from '../../../src/checkpoint/directory-store.ts'
import { StageDisk } from '../../../src/checkpoint/stage-disk.ts'
import type { Store } from '../../../src/checkpoint/store.ts'
import { temporaryFolder } from '../../fixtures/folder.ts'
import { stateSurvivals } from './kills.ts'
import { holdsState, partsOf, stateOf } from './small-state.ts'

const pause = async () => {}

/** A disk as the next process opens it, and what it refused. */
async function opened(store: Store) {
  const disk = new StageDisk({ store, pause })
  return { disk, refused: await disk.scanned }
}

test('the next process finds a state with its numbers, bit for bit', async () => {
  const store = new DirectoryStore(join(temporaryFolder(), 'states'))
  const first = new StageDisk({ store, pause })
  const bytes = await first.write(stateOf(7), partsOf(7))
  expect(bytes).toBe(1024 + 3 * 5_000 * 4)
  const { disk, refused } = await opened(store)
  expect(refused).toEqual([])
  const { norm, updates, learningRateScale, ...holding } = stateOf(7)
  expect(disk.holdings).toEqual([holding])
  expect(await holdsState(disk, 7)).toBe(true)
  const { answer } = await disk.read(holding, 4_000, 40)
  expect(answer).toMatchObject({ norm, updates, learningRateScale })
})

test('any changed byte, and any cut, is refused by name and removed', async () => {
  const store = new MemoryStore()
  const first = new StageDisk({ store, pause })
  await first.write(stateOf(7), partsOf(7))
  const [name, whole] = [...store.files][0]!
  const change = fc.record({ at: fc.nat(whole.length - 1), mask: fc.integer({ min: 1, max: 255 }) })
  await fc.assert(
    fc.asyncProperty(change, fc.boolean(), async ({ at, mask }, isCut) => {
      const damaged = isCut ? whole.slice(0, at) : whole.with(at, whole[at]! ^ mask)
      store.files.set(name, damaged)
      const { disk, refused } = await opened(store)
      // Spaces after the header's JSON mean nothing.
      if (refused.length === 0) return expect(await holdsState(disk, 7)).toBe(true)
      expect(refused[0]).toContain(name)
      expect(disk.holdings).toEqual([])
      expect(store.files.size).toBe(0)
    }),
  )
})

test('a state that is not finite is neither written nor read', async () => {
  const store = new MemoryStore()
  const disk = new StageDisk({ store, pause })
  const parts = [bytesOf(Float32Array.of(1, Number.NaN)), bytesOf(new Float32Array(2))]
  await expect(disk.write(stateOf(3), parts)).rejects.toThrow(/not finite/)
  expect(store.files.size).toBe(0)
  // A copy of another form is no float32, and is checked when it is decoded.
  await disk.write(stateOf(3, { strategy: 'shadow', loss: null }), parts)
  expect(disk.holdings).toHaveLength(1)
})

test('the bound of bytes holds, and what is removed makes room', async () => {
  const store = new MemoryStore()
  const size = 1024 + 3 * 5_000 * 4
  const disk = new StageDisk({ store, pause, bytesMax: 2 * size })
  for (const step of [1, 2]) await disk.write(stateOf(step), partsOf(step))
  await expect(disk.write(stateOf(3), partsOf(3))).rejects.toThrow(/would be more than/)
  // A state takes the place of the one with its name.
  await disk.write(stateOf(2), partsOf(2))
  await disk.retain(({ step }) => step > 1)
  await disk.write(stateOf(3), partsOf(3))
  expect(disk.holdings.map(({ step }) => step)).toEqual([2, 3])
  expect(store.files.size).toBe(2)
})

test('a file that cannot be read any more is not offered again', async () => {
  const store = new MemoryStore()
  const disk = new StageDisk({ store, pause })
  await disk.write(stateOf(1), partsOf(1))
  store.files.clear()
  const [holding] = disk.holdings
  await expect(disk.read(holding!, 0, 10)).rejects.toMatchObject({ code: 'STALE' })
  expect(disk.holdings).toEqual([])
})

test('a name from another peer never leads out of the folder', async () => {
  const folder = temporaryFolder()
  const disk = new StageDisk({ store: new DirectoryStore(join(folder, 'states')), pause })
  const written = disk.write(stateOf(1, { strategy: '../../out', loss: null }), partsOf(1))
  await expect(written).rejects.toThrow(/strategy/)
  expect(readdirSync(folder).filter((name) => name !== 'states')).toEqual([])
  expect(disk.holdings).toEqual([])
})

test('the temporary file of a killed process is removed', async () => {
  const folder = temporaryFolder()
  const store = new DirectoryStore(folder)
  await new StageDisk({ store, pause }).write(stateOf(6), partsOf(6))
  writeFileSync(join(folder, 'kept-2-7-0-aaaaaaaaaaaa.state.4711.tmp'), 'half')
  const { disk, refused } = await opened(store)
  expect(refused).toEqual([])
  expect(disk.holdings.map(({ step }) => step)).toEqual([6])
  expect(readdirSync(folder)).toHaveLength(1)
})

test('a state is whole after kills within a write; npm run test:kills repeats this more often', async () => {
  for await (const { committed, complete, exact } of stateSurvivals(temporaryFolder(), 3)) {
    expect(exact).toBe(true)
    expect(complete).toBeGreaterThanOrEqual(committed)
  }
})
