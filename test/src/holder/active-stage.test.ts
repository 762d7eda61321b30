/** The checks of an active stage: each microbatch counts once, and must be of the current step, finite and of the right shape. */
import { beforeEach, describe, expect, test, vi } from 'vitest'
import type { MicrobatchHeader } from '../../../protocols/microbatch.ts'
import type { Json, Network } from '../../../protocols/network.ts'
import { bytesOf } from '../../../protocols/weights.ts'
import { ActiveStage } from '../../../src/holder/active-stage.ts'
import type { Trouble } from '../../../src/holder/pipeline.ts'
import { StageReplica } from '../../../src/holder/stage-replica.ts'
import { tinyRun } from '../../fixtures/swarm.ts'
import { CountingBody } from './counting-stage.ts'

const run = tinyRun({ microbatches: 2 })
const SHAPE = [2, 16, 16]
const ELEMENTS = 2 * 16 * 16
const fence = { run: 'r', epoch: 3, step: 7 }
const route = [
  { stage: 1, id: 11 },
  { stage: 2, id: 12 },
]
const DRIVER = 10
const PEERS: Record<number, string> = { 10: 'd', 11: 'a', 12: 'me', 13: 'twin' }
/** The plan of a step with two microbatches, for this holder. */
const plan = { ...fence, version: 0, alone: true, expected: [0, 1], drives: [] }
const reduction = { ...fence, version: 0, stage: 2, owners: [12], contributors: [12] }

function header(overrides: Partial<MicrobatchHeader> = {}): MicrobatchHeader {
  return {
    ...fence,
    index: 0,
    purpose: 'train',
    direction: 'forward',
    route,
    position: 1,
    attempt: 0,
    driver: DRIVER,
    dtype: 'float32',
    shape: SHAPE,
    ...overrides,
  }
}

function body(value: number): Uint8Array {
  return bytesOf(new Float32Array(ELEMENTS).fill(value))
}

let stage: CountingBody
let active: ActiveStage
let troubles: Trouble[]
let sent: { to: string; header: Json }[]
/** The network's answer to a call. */
let answer: () => Promise<{ header: Json }>

beforeEach(async () => {
  stage = new CountingBody()
  sent = []
  troubles = []
  answer = async () => ({ header: {} })
  const network = {
    self: 'me',
    call: (to: string, _: string, message: { header: Json }) => {
      sent.push({ to, header: message.header })
      return answer()
    },
  } as unknown as Network
  const clock = { now: () => 0, sleep: async () => {} }
  const facts = { norm: null, updates: 0, learningRateScale: 1.1 }
  active = new ActiveStage({
    replica: new StageReplica({ run, index: 2, stage, facts }),
    network,
    clock,
    ownId: 12,
    peerOf: (id) => PEERS[id],
    onTrouble: (trouble) => troubles.push(trouble),
    data: { training: () => never(), heldOut: () => never() },
  })
  await active.open(fence)
})

function never(): never {
  throw new Error('a body stage reads no tokens')
}

/** Sends a microbatch forward and, after it was handed over, backward. */
async function bothWays(index: number, gradient: number): Promise<void> {
  const before = sent.length
  active.receive(header({ index }), body(0))
  await vi.waitFor(() => expect(sent.length).toBe(before + 1))
  active.receive(header({ index, direction: 'backward' }), body(gradient))
  await vi.waitFor(() => expect(sent.length).toBe(before + 2))
}

test('each microbatch counts once, also if messages arrive twice, and the clipped and scaled mean is applied', async () => {
  await bothWays(0, 3)
  await bothWays(1, 5)
  active.receive(header(), body(0))
  active.receive(header({ direction: 'backward' }), body(3))
  active.receive(header({ index: 1, direction: 'backward' }), body(5))
  expect(await active.prepare(plan)).toMatchObject({ counted: [0, 1], losses: [], norm: 4 })
  expect(sent.map(({ to }) => to).toSorted()).toEqual(['a', 'a', 'd', 'd'])

  await active.commit(7, { learningRate: 0.1, norm: 5 })
  // The norm of 4 is clipped to 1, over 2 microbatches. The learning rate is multiplied by the stage's scale, 1.1.
  expect(stage.updates[0]!.gradientScale).toBeCloseTo(1 / 4 / 2, 6)
  expect(stage.updates[0]!.learningRate).toBeCloseTo(0.11, 12)
  const { answer: facts } = await active.donate(8, 'weights', 0, 4)
  expect(facts).toMatchObject({ norm: 4, total: 4, updates: 1, learningRateScale: 1.1 })
})

describe('an active stage refuses', () => {
  test.each([
    ['another run', { run: 'other' }, 'WRONG_RUN'],
    ['an earlier epoch', { epoch: 2 }, 'STALE'],
    ['a later epoch', { epoch: 4 }, 'STALE'],
    ['another step', { step: 8 }, 'STALE'],
    ['a stage that is not held here', { position: 0 }, 'REFUSED'],
    ['a microbatch beyond the step', { index: 99 }, 'REFUSED'],
    ['another shape', { shape: [2, 16, 17] }, 'WRONG_SHAPE'],
    ['another form', { dtype: 'int8' }, 'WRONG_SHAPE'],
  ] as const)('%s', (_, overrides, code) => {
    const wrong = header(overrides as Partial<MicrobatchHeader>)
    const refusal = expect.objectContaining({ code })
    expect(() => active.accept(wrong, ELEMENTS * 4)).toThrow(refusal)
    expect(() => active.receive(wrong, body(0))).toThrow(refusal)
  })

  test('a body that is longer than its shape, before it is stored', () => {
    expect(() => active.accept(header(), ELEMENTS * 4 + 4)).toThrow(/2052 bytes.*2048/)
  })

  test.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
    '%d in a tensor',
    (value) => {
      const tensor = new Float32Array(ELEMENTS)
      tensor[ELEMENTS - 1] = value
      expect(() => active.receive(header(), bytesOf(tensor))).toThrow(/not finite/)
    },
  )

  test('a commit without a prepared step', async () => {
    await expect(active.commit(7, { learningRate: 0.1, norm: 5 })).rejects.toMatchObject({
      code: 'STALE',
    })
  })
})

test('a new fence drops the sums, the work and the waits of the current step', async () => {
  await bothWays(0, 3)
  const prepared = active.prepare(plan)
  const rejected = expect(prepared).rejects.toMatchObject({ code: 'STALE' })
  await active.open({ ...fence, epoch: 4 })
  await rejected
  expect(stage.sum).toBe(0)
  expect(() => active.receive(header(), body(0))).toThrow(/epoch 3 step 7; this peer is at epoch 4/)
})

test('a result that the next stage refuses is reported with its microbatch and its receiver', async () => {
  await bothWays(0, 1)
  answer = () => Promise.reject(new Error('no'))
  active.receive(header({ index: 1 }), body(0))
  await vi.waitFor(() => expect(troubles).toHaveLength(1))
  expect(troubles[0]).toMatchObject({ to: DRIVER, header: { index: 1, attempt: 0 } })
  expect(troubles[0]!.error.message).toMatch(/stage 2 could not hand microbatch 1 forward/)
})

test('a gradient without a forward pass before it is reported and does not count', async () => {
  active.receive(header({ direction: 'backward' }), body(1))
  await vi.waitFor(() => expect(troubles).toHaveLength(1))
  expect(troubles[0]!.error.message).toMatch(/never came forward/)
  expect(stage.sum).toBe(0)
})

test('a microbatch that is driven again is computed again, and counts once', async () => {
  await bothWays(0, 3)
  const again = { attempt: 1 }
  active.receive(header(again), body(0))
  await vi.waitFor(() => expect(sent).toHaveLength(3))
  // A late message of the earlier attempt has no effect.
  active.receive(header({ direction: 'backward' }), body(100))
  active.receive(header({ ...again, direction: 'backward' }), body(3))
  await vi.waitFor(() => expect(sent).toHaveLength(4))
  await bothWays(1, 5)
  expect(await active.prepare(plan)).toMatchObject({ counted: [0, 1] })
  expect(stage.sum).toBe(8)
})

test('a later version of the plan replaces the one whose microbatches are awaited', async () => {
  const first = active.prepare(plan)
  const rejected = expect(first).rejects.toMatchObject({ code: 'STALE' })
  const second = active.prepare({ ...plan, version: 1, expected: [0] })
  await rejected
  await bothWays(0, 3)
  expect(await second).toMatchObject({ counted: [0] })
  await expect(active.reduce(reduction)).rejects.toMatchObject({ code: 'STALE' })
})

test('an early question for the range of a holder is answered after the reduction of that holder has begun', async () => {
  await bothWays(0, 3)
  await bothWays(1, 5)
  expect(await active.prepare({ ...plan, alone: false })).toMatchObject({ norm: null })
  expect(active.canCommit(7)).toBe(false)
  stage.sums.set([1, 2, 3, 4])
  const range = { ...fence, version: 0, stage: 2, kind: 'total', offset: 0, length: 2 } as const
  const early = active.gradients(range)
  // The other replica does not answer, so that this one never gets its half of the total.
  answer = () => new Promise(() => {})
  void active.reduce({ ...reduction, owners: [12, 13] })
  expect((await early).body).toEqual(bytesOf(new Float32Array([1, 2])))
})

test('repeated old questions have no effect', async () => {
  await bothWays(0, 3)
  await bothWays(1, 5)
  await active.prepare({ ...plan, alone: false })
  stage.sums.set([0, 0, 6, 8])
  // The mean of two microbatches.
  expect(await active.reduce(reduction)).toEqual({ norm: 5 })
  await expect(active.prepare(plan)).rejects.toMatchObject({ code: 'STALE' })
  expect(await active.reduce(reduction)).toEqual({ norm: 5 })
  expect(active.canCommit(7)).toBe(true)
})
