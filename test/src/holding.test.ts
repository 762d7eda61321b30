/** What a held stage lets in: each microbatch once, of the step in hand, of the right shape, finite. */
import { beforeEach, describe, expect, test, vi } from 'vitest'
import type { MicrobatchHeader } from '../../protocols/microbatch.ts'
import type { Json, Network } from '../../protocols/network.ts'
import { bytesOf } from '../../protocols/weights.ts'
import { Holding } from '../../src/holding.ts'
import { type BodyStage, sharedFloats, type Update } from '../../stages/stage.ts'
import { tinyRun } from '../fixtures/swarm.ts'

const run = tinyRun({ microbatches: 2 })
const SHAPE = [2, 16, 16]
const ELEMENTS = 2 * 16 * 16
const fence = { run: 'r', epoch: 3, step: 7 }
const route = [
  { stage: 1, peer: 'a' },
  { stage: 2, peer: 'me' },
]

/** A stage whose gradient sum is a number: the sum of all output gradients that it was given. */
class CountingStage {
  readonly kind = 'body' as const
  readonly parameters = []
  readonly weights = sharedFloats(4)
  sum = 0
  updates: Update[] = []
  async forward(input: Float32Array) {
    return sharedFloats(input.length)
  }
  async forwardKeeping(input: Float32Array) {
    return { output: await this.forward(input), kept: {} }
  }
  async backward(input: Float32Array, gradient: Float32Array) {
    this.sum += gradient[0]!
    return sharedFloats(input.length)
  }
  async gradientNorm() {
    return this.sum
  }
  async update(update: Update) {
    this.updates.push(update)
    this.sum = 0
  }
  async zeroGradients() {
    this.sum = 0
  }
  async load() {}
  async optimizerState() {
    return { firstMoment: this.weights, secondMoment: this.weights, updates: 0 }
  }
  async close() {}
}

function header(overrides: Partial<MicrobatchHeader> = {}): MicrobatchHeader {
  return {
    ...fence,
    index: 0,
    purpose: 'train',
    direction: 'forward',
    route,
    position: 1,
    driver: 'd',
    dtype: 'float32',
    shape: SHAPE,
    ...overrides,
  }
}

function body(value: number): Uint8Array {
  return bytesOf(new Float32Array(ELEMENTS).fill(value))
}

let stage: CountingStage
let holding: Holding
let sent: { to: string; header: Json }[]
/** What the network does with a call. */
let answer: () => Promise<{ header: Json }>

beforeEach(async () => {
  stage = new CountingStage()
  sent = []
  answer = async () => ({ header: {} })
  const network = {
    self: 'me',
    call: (to: string, _: string, message: { header: Json }) => {
      sent.push({ to, header: message.header })
      return answer()
    },
  } as unknown as Network
  const clock = { now: () => 0, sleep: async () => {} }
  holding = new Holding({
    run,
    network,
    clock,
    stage: stage as BodyStage,
    stageIndex: 2,
    data: { training: () => never(), heldOut: () => never() },
    learningRateScale: 1.1,
  })
  await holding.open(fence)
})

function never(): never {
  throw new Error('a body stage reads no tokens')
}

/** Forward and, once that has been handed on, backward. */
async function bothWays(index: number, gradient: number): Promise<void> {
  const before = sent.length
  holding.receive(header({ index }), body(0))
  await vi.waitFor(() => expect(sent.length).toBe(before + 1))
  holding.receive(header({ index, direction: 'backward' }), body(gradient))
  await vi.waitFor(() => expect(sent.length).toBe(before + 2))
}

test('counts each microbatch once, whatever arrives twice, and applies the mean, clipped and scaled', async () => {
  await bothWays(0, 3)
  await bothWays(1, 5)
  holding.receive(header(), body(0))
  holding.receive(header({ direction: 'backward' }), body(3))
  holding.receive(header({ index: 1, direction: 'backward' }), body(5))
  const prepared = await holding.prepare(fence, [route, route])
  expect(prepared).toMatchObject({ counted: 2, norm: 4, losses: null })
  expect(sent.map(({ to }) => to).toSorted()).toEqual(['a', 'a', 'd', 'd'])

  await holding.commit({ ...fence, learningRate: 0.1, loss: 1 })
  // Norm 4 clipped to 1, over 2 microbatches; learning rate times the stage's own 1.1.
  expect(stage.updates[0]!.gradientScale).toBeCloseTo(1 / 4 / 2, 6)
  expect(stage.updates[0]!.learningRate).toBeCloseTo(0.11, 12)
  expect(holding.donate(0, 4).answer).toMatchObject({ norm: 4, total: 4 })
})

describe('refuses', () => {
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
    expect(() => holding.accept(wrong, ELEMENTS * 4)).toThrow(refusal)
    expect(() => holding.receive(wrong, body(0))).toThrow(refusal)
  })

  test('a body that is longer than its shape, before it is stored', () => {
    expect(() => holding.accept(header(), ELEMENTS * 4 + 4)).toThrow(/2052 bytes.*2048/)
  })

  test.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
    '%d in a tensor',
    (value) => {
      const tensor = new Float32Array(ELEMENTS)
      tensor[ELEMENTS - 1] = value
      expect(() => holding.receive(header(), bytesOf(tensor))).toThrow(/not finite/)
    },
  )

  test('to commit what is not prepared', async () => {
    const decision = { ...fence, learningRate: 0.1, loss: 1 }
    await expect(holding.commit(decision)).rejects.toMatchObject({ code: 'STALE' })
  })
})

test('a new fence drops the step in hand: its sums, its work, and who waits for it', async () => {
  await bothWays(0, 3)
  const prepared = holding.prepare(fence, [route, route])
  const given = expect(prepared).rejects.toMatchObject({ code: 'STALE' })
  await holding.open({ ...fence, epoch: 4 })
  await given
  expect(stage.sum).toBe(0)
  expect(() => holding.receive(header(), body(0))).toThrow(
    /epoch 3 step 7; this peer is at epoch 4/,
  )
})

test('a result that the next stage refuses fails the step, though every microbatch is counted', async () => {
  await bothWays(0, 1)
  holding.receive(header({ index: 1 }), body(0))
  await vi.waitFor(() => expect(sent.length).toBe(3))
  answer = () => Promise.reject(new Error('no'))
  holding.receive(header({ index: 1, direction: 'backward' }), body(1))
  await expect(holding.prepare(fence, [route, route])).rejects.toThrow(
    /stage 2 could not hand microbatch/,
  )
})

test('what comes back without having come forward fails the step', async () => {
  holding.receive(header({ direction: 'backward' }), body(1))
  await expect(holding.prepare(fence, [route, route])).rejects.toThrow(/never came forward/)
})
