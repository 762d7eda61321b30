/** Tokens that arrive after another step was opened: their microbatch adds nothing to the sums of that step. */
import { expect, test } from 'vitest'
import type { MicrobatchHeader } from '../../../protocols/microbatch.ts'
import type { Network } from '../../../protocols/network.ts'
import { bytesOf } from '../../../protocols/weights.ts'
import { ActiveStage } from '../../../src/holder/active-stage.ts'
import { StageReplica } from '../../../src/holder/stage-replica.ts'
import type { Tokens } from '../../../src/run/batch-source.ts'
import { tinyRun } from '../../fixtures/swarm.ts'
import { CountingEnds } from './counting-stage.ts'

const run = tinyRun({ microbatches: 1 })
const SHAPE = [2, 16, 16]
const ELEMENTS = 2 * 16 * 16
const old = { run: 'r', epoch: 3, step: 7 }
const route = [{ stage: 1, id: 11 }]
const tokens: Tokens = { tokens: new Int32Array(32), targets: new Int32Array(32) }

/** Position of the hop at which the microbatch is back at its driver. */
const HOPS = { forward: route.length, backward: -1 }

function header(fence: typeof old, direction: 'forward' | 'backward'): MicrobatchHeader {
  return {
    ...fence,
    direction,
    position: HOPS[direction],
    route,
    index: 0,
    purpose: 'train',
    attempt: 0,
    driver: 10,
    dtype: 'float32',
    shape: SHAPE,
  }
}

function body(value: number): Uint8Array {
  return bytesOf(new Float32Array(ELEMENTS).fill(value))
}

test.each([
  ['forward', 'the next attempt of the step', { ...old, epoch: 4 }],
  ['backward', 'the next attempt of the step', { ...old, epoch: 4 }],
  ['forward', 'the next step', { ...old, step: 8 }],
  ['backward', 'the next step', { ...old, step: 8 }],
] as const)('a %s whose tokens come late adds nothing to %s', async (direction, _, next) => {
  const stage = new CountingEnds()
  const late = Promise.withResolvers<Tokens>()
  const asked = Promise.withResolvers<void>()
  const answers = [late.promise]
  const active = new ActiveStage({
    replica: new StageReplica({ run, index: 0, stage }),
    network: { self: 'd', call: async () => ({ header: {} }) } as unknown as Network,
    clock: { now: () => 0, sleep: async () => {} },
    ownId: 10,
    peerOf: (id) => `${id}`,
    onTrouble: ({ error }) => {
      throw error
    },
    data: {
      training: () => {
        asked.resolve()
        return answers.shift() ?? tokens
      },
      heldOut: () => tokens,
    },
  })
  await active.open(old)
  active.receive(header(old, direction), body(100))
  await asked.promise
  await active.open(next)
  late.resolve(tokens)
  active.receive(header(next, 'forward'), body(3))
  active.receive(header(next, 'backward'), body(5))
  await active.prepare({ ...next, version: 0, alone: true, expected: [0], drives: [] })
  await active.close()
  expect(stage.sum).toBe(8)
})
