/** A store that several incarnations of a run share. */
import { expect, test } from 'vitest'
import type { Lineage } from '../../../protocols/incarnation.ts'
import { MemoryStore } from '../../../sim/world/memory-store.ts'
import { findLatest, findStep } from '../../../src/checkpoint/find-step.ts'
import { IncarnationStore } from '../../../src/checkpoint/incarnation-store.ts'
import { originOf } from '../../../src/checkpoint/manifest.ts'
import { latestComplete, openStep, retain } from '../../../src/checkpoint/steps.ts'
import type { Store } from '../../../src/checkpoint/store.ts'
import {
  branchesBefore,
  FIRST,
  Incarnation,
  incarnationId,
} from '../../../src/membership/incarnation.ts'
import { runId } from '../../../src/run/run.ts'
import { RUN as SMALL_RUN, saveSmallStep } from './small-step.ts'

const RUN = runId(SMALL_RUN)

/** The lineage of an incarnation that follows another one after a step. */
function after(ancestor: Lineage, step: number, roster: string): Lineage {
  const number = (ancestor.record?.number ?? 0) + 1
  const id = incarnationId(RUN, ancestor.record)
  const record = { number, ancestor: id, step, roster }
  return { record, absent: [], branches: branchesBefore(id, ancestor, step) }
}

const first = FIRST
const left = after(first, 2, 'a'.repeat(64))
const right = after(first, 4, 'b'.repeat(64))
const leftmost = after(left, 6, 'c'.repeat(64))

function swarm() {
  const shared = new MemoryStore()
  const of = (lineage: Lineage) => {
    const incarnation = new Incarnation(RUN, lineage)
    return { incarnation, store: new IncarnationStore(shared, RUN, incarnation) }
  }
  return { shared, of }
}

const latestStep = async (store: Store, upTo?: number) =>
  (await latestComplete(store, { depth: 'content', ...(upTo !== undefined && { upTo }) }))?.step

test('the first incarnation writes where a store without incarnations has its steps', async () => {
  const { shared, of } = swarm()
  await saveSmallStep(of(first).store, 1)
  expect((await openStep(shared, 1)).step).toBe(1)
})

test('an incarnation reads what its ancestor made before it, and nothing that another one made after that', async () => {
  const { of } = swarm()
  const root = of(first).store
  const one = of(left).store
  const other = of(right).store
  await saveSmallStep(root, 2)
  await saveSmallStep(root, 4)
  expect([await latestStep(one), await latestStep(other)]).toEqual([2, 4])
  await saveSmallStep(one, 5)
  expect([await latestStep(root), await latestStep(one), await latestStep(other)]).toEqual([
    4, 5, 4,
  ])
  await expect(openStep(other, 5)).rejects.toThrow(/step-000000000005/)
})

test('an incarnation removes nothing that another one needs', async () => {
  const { of } = swarm()
  const { store: root } = of(first)
  const { store: one } = of(left)
  for (const step of [1, 2]) await saveSmallStep(root, step)
  for (const step of [3, 4, 5]) await saveSmallStep(one, step)
  await retain(one, 1)
  expect([await latestStep(one), await latestStep(one, 4), await latestStep(root)]).toEqual([
    5, 2, 2,
  ])
  await openStep(root, 1)
})

test('a newcomer to the third incarnation reads what the first one made', async () => {
  const { of } = swarm()
  await saveSmallStep(of(first).store, 2)
  await saveSmallStep(of(first).store, 3)
  expect(await latestStep(of(leftmost).store)).toBe(2)
})

test('a peer that lives through two foundings still reads what it had before both', async () => {
  const { of } = swarm()
  const { incarnation, store } = of(first)
  await saveSmallStep(store, 2)
  incarnation.enter(left)
  expect(await latestStep(store)).toBe(2)
  incarnation.enter(leftmost)
  expect(await latestStep(store)).toBe(2)
  await saveSmallStep(store, 7)
  expect(await latestStep(store)).toBe(7)
})

test('a step that was made again counts as its own incarnation made it', async () => {
  const { of } = swarm()
  await saveSmallStep(of(first).store, 2)
  const { store } = of(right)
  await saveSmallStep(store, 2)
  const steps = (await store.list('step-')).filter(({ name }) => name.endsWith('manifest.json'))
  expect(steps).toHaveLength(1)
})

test('a reader in no incarnation finds the latest step of all, and a step by its digest', async () => {
  const { shared, of } = swarm()
  await saveSmallStep(of(first).store, 3)
  await saveSmallStep(of(left).store, 5)
  await saveSmallStep(of(right).store, 4)
  const latest = (await findLatest(shared, { depth: 'lengths' }))!
  expect(latest.manifest.step).toBe(5)
  expect(latest.place.location).toContain(incarnationId(RUN, left.record).slice(0, 12))
  const origin = originOf(latest.manifest)
  expect((await findStep(shared, 5, origin)).manifest.step).toBe(5)
  await expect(findStep(shared, 4, origin)).rejects.toThrow(/not the checkpoint/)
  await expect(findStep(shared, 9)).rejects.toThrow(/step-000000000009/)
})
