/** The total of a step is made once for each version of the plan, in memory that nothing else writes to. */
import { expect, test } from 'vitest'
import type { Network } from '../../../protocols/network.ts'
import { bytesOf, sha256 } from '../../../protocols/weights.ts'
import { StageReplica } from '../../../src/holder/stage-replica.ts'
import { StepTotal } from '../../../src/holder/step-total.ts'
import { tinyRun } from '../../fixtures/swarm.ts'
import { CountingBody } from './counting-stage.ts'

const fence = { run: 'r', epoch: 3, step: 7 }

/** Two holders of a stage: this member, 0, whose sums are [1, 2, 3, 4], and another one that the network answers for. */
function twoHolders(answer: (chunk: Float32Array) => Promise<void>) {
  const stage = new CountingBody()
  stage.sums.set([1, 2, 3, 4])
  let calls = 0
  const network = {
    call: async (
      _: string,
      __: string,
      { header }: { header: { length: number } },
      options: { accept(header: unknown, length: number): Uint8Array },
    ) => {
      calls++
      const chunk = new Float32Array(header.length).fill(10)
      await answer(chunk)
      const body = bytesOf(chunk)
      options.accept({}, body.length).set(body)
      return { header: { sha256: sha256(body) } }
    },
  } as unknown as Network
  const replica = new StageReplica({ run: tinyRun({ microbatches: 2 }), index: 1, stage })
  const context = { network, ownId: 0, peerOf: (id: number) => `p${id}` }
  const parts = { owners: [0, 1], contributors: [0, 1] }
  return {
    replica,
    calls: () => calls,
    reduce: (total: StepTotal) => total.reduce(parts),
    total: (version: number) => new StepTotal(replica, context, fence, version),
  }
}

test('asked for twice, the total is made once, and applied in place of the own sums', async () => {
  const { replica, calls, reduce, total } = twoHolders(async () => {})
  const first = total(0)
  const norms = await Promise.all([reduce(first), reduce(first)])
  // This member adds up [1, 2] + [10, 10], and fetches the other half, [10, 10]: one question each.
  expect(calls()).toBe(2)
  expect(norms[0]).toBeCloseTo(Math.hypot(11, 12, 10, 10) / 2, 5)
  expect(norms[1]).toBe(norms[0])
  await replica.apply(first.complete, { learningRate: 0.1, norm: 1 })
  expect([...replica.stage.sums]).toEqual([11, 12, 10, 10])
  expect(replica.facts).toMatchObject({ updates: 1, norm: norms[0] })
})

test('a plan that passes while its total is made fails, and its memory is not used again', async () => {
  const answers: PromiseWithResolvers<void>[] = []
  const { replica, reduce, total } = twoHolders(() => {
    answers.push(Promise.withResolvers())
    return answers.at(-1)!.promise
  })
  const before = replica.takeTotals()
  replica.giveTotals(before)
  const old = total(0)
  const range = expect(old.ownedRange()).rejects.toMatchObject({ code: 'STALE' })
  const failed = expect(reduce(old)).rejects.toMatchObject({ code: 'STALE' })
  old.end()
  await range
  const fresh = total(1)
  const made = reduce(fresh)
  for (let i = 0; i < 4; i++) {
    await expect.poll(() => answers.length).toBeGreaterThan(i)
    answers[i]!.resolve()
  }
  await failed
  await made
  expect(old.isComplete).toBe(false)
  expect(fresh.complete.sums).not.toBe(before)
  expect([...fresh.complete.sums]).toEqual([11, 12, 10, 10])
})

test('memory of an applied or passed total is used by the next one', async () => {
  const { reduce, total } = twoHolders(async () => {})
  const first = total(0)
  await reduce(first)
  const { sums } = first.complete
  first.end()
  const second = total(1)
  await reduce(second)
  expect(second.complete.sums).toBe(sums)
})

test('a total that is not finite is refused', async () => {
  const { replica, total } = twoHolders(async () => {})
  const alone = total(0)
  ;(replica.stage as CountingBody).sum = Number.NaN
  await expect(alone.takeOwnSums()).rejects.toMatchObject({ code: 'NON_FINITE' })
  expect(alone.isComplete).toBe(false)
})
