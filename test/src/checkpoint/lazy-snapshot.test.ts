/** Lazy snapshots: a copy is made while training continues, and has the state at the time of the request. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { MemoryStore } from '../../../sim/world/memory-store.ts'
import { yieldToLoop } from '../../../src/checkpoint/digest.ts'
import { LazySnapshot } from '../../../src/checkpoint/lazy-snapshot.ts'
import { commitStep } from '../../../src/checkpoint/save.ts'
import { StageSaver } from '../../../src/checkpoint/stage-saver.ts'
import { openStep } from '../../../src/checkpoint/steps.ts'
import { hashesOf, processOf, thinRun } from './fixtures.ts'

const PIECE = 1 << 18

/** Pauses of the copy that the test ends one by one. */
class Turns {
  #waiting: (() => void) | null = null
  readonly take = () =>
    new Promise<void>((resolve) => {
      this.#waiting = resolve
    })

  async give(): Promise<void> {
    const resolve = this.#waiting
    this.#waiting = null
    resolve?.()
    // Lets the continuations of all resolved promises run.
    await new Promise((resolve) => setImmediate(resolve))
  }
}

test('the copy has the state before the update, at any time of the update', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 1, max: 3 * PIECE }), { minLength: 1, maxLength: 3 }),
      fc.nat(12),
      async (lengths, turnsBefore) => {
        const live = lengths.map((length, i) => new Float32Array(length).fill(i + 1))
        const turns = new Turns()
        const snapshot = new LazySnapshot(turns.take)
        const copied = snapshot.begin(live)
        for (let i = 0; i < turnsBefore; i++) await turns.give()
        const pieces = lengths.flatMap((length) => piecesOf(length))
        const left = pieces.slice(1 + turnsBefore).reduce((sum, piece) => sum + piece, 0)
        expect(snapshot.copying).toBe(left > 0)
        expect(snapshot.beforeUpdate()).toBe(left)
        for (const buffer of live) buffer.fill(-1)
        await turns.give()
        const copies = await copied
        expect(copies.map(({ length }) => length)).toEqual(lengths)
        expect(copies.every((copy, i) => copy.every((value) => value === i + 1))).toBe(true)
      },
    ),
    { numRuns: 25 },
  )
})

function piecesOf(length: number): number[] {
  if (length <= PIECE) return [length]
  return [PIECE, ...piecesOf(length - PIECE)]
}

test('the memory of a copy is used again for the next one', async () => {
  const turns = new Turns()
  const snapshot = new LazySnapshot(turns.take)
  const live = [new Float32Array(PIECE + 1)]
  const first = snapshot.begin(live)
  await expect(snapshot.begin(live)).rejects.toThrow('while another is being made')
  await turns.give()
  await turns.give()
  const [copy] = await first
  live[0]!.fill(7)
  const second = snapshot.begin(live)
  await turns.give()
  await turns.give()
  expect((await second)[0]).toBe(copy)
  expect(copy!.every((value) => value === 7)).toBe(true)
})

test('checkpoints that are written while training continues have the exact state of their steps', async () => {
  const run = thinRun(2, 1)
  const store = new MemoryStore()
  const process = await processOf(run)
  const stages = [process.ends, ...process.body]
  const savers = stages.map(() => new StageSaver(store, yieldToLoop))
  const hashes = new Map<number, Map<string, string>>()
  const saved: Promise<unknown>[] = []
  for (let step = 1; step <= 6; step++) {
    for (const saver of savers) saver.beforeUpdate()
    await process.step(step)
    hashes.set(step, hashesOf(process))
    for (const [stage, { parameters, weights, moments }] of stages.entries()) {
      const part = { run, step, stage, replica: 0, replicas: 1, parameters }
      const fields = { updates: step, learningRateScale: 1, gradientNorm: null }
      const begun = await savers[stage]!.begin({
        ...part,
        tensors: { weights, ...moments },
        fields,
      })
      saved.push(begun.saved)
    }
  }
  await Promise.all(saved)
  await process.close()
  for (const [step, expected] of hashes) {
    await commitStep(store, { run, step, replicas: [1, 1] })
    const { tensors } = await openStep(store, step)
    const found = Object.entries(tensors).map(([name, { copies }]) => [name, copies[0]!.sha256])
    expect(new Map(found as [string, string][])).toEqual(expected)
  }
})

test('a part that cannot be written fails the wait for it, and the next part is written', async () => {
  const run = thinRun(1, 1)
  const store = new MemoryStore()
  const { write } = MemoryStore.prototype
  store.write = async () => {
    throw new Error('disk full')
  }
  const parameters = [{ name: 'a', shape: [4], offset: 0, length: 4 }]
  const flat = new Float32Array(4)
  const tensors = { weights: flat, firstMoment: flat, secondMoment: flat }
  const fields = { updates: 1, learningRateScale: 1, gradientNorm: null }
  const save = { run, step: 1, stage: 0, replica: 0, replicas: 1, parameters, tensors, fields }
  const saver = new StageSaver(store, yieldToLoop)
  await expect((await saver.begin(save)).saved).rejects.toThrow('disk full')
  store.write = write
  expect(await (await saver.begin(save)).saved).toEqual({ bytes: 48 })
})
