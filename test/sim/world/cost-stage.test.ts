import { expect, test } from 'vitest'
import { DEFAULT_LINK } from '../../../sim/scenario.ts'
import {
  COST_WEIGHTS,
  type CostStageOptions,
  costTokens,
  createCostStage,
  initialWeights,
  sumsOf,
  updatedWeights,
} from '../../../sim/world/cost-stage.ts'
import { Machine } from '../../../sim/world/machine.ts'
import { VirtualNetwork } from '../../../sim/world/network.ts'
import { World } from '../../../sim/world/world.ts'
import type { BodyStage, EndsStage } from '../../../stages/stage.ts'
import { startPeer, tinyCorpus, tinyRun } from '../../fixtures/swarm.ts'

const STAGES = 3
const ELEMENTS = 4
const UPDATE = { gradientScale: 0.25, learningRate: 1 }

function setUp(options: Partial<CostStageOptions> = {}) {
  const world = new World({ seed: 1 })
  const machine = new Machine(world)
  const common = { machine, costMs: () => 10, stages: STAGES, elements: ELEMENTS, ...options }
  const ends = createCostStage(0, common) as EndsStage
  const body = [1, 2, 3].map((stage) => createCostStage(stage, common) as BodyStage)
  const run = <T>(outcome: Promise<T>) => world.run(outcome, { waitingFor: 'the stages' })
  /** Sends one microbatch through the body stages in this order, and back. */
  const drive = async (index: number, order: readonly number[] = [1, 2, 3]) => {
    const tokens = costTokens(7, index, 2)
    const inputs = [await ends.embed(tokens)]
    for (const stage of order) inputs.push(await body[stage - 1]!.forward(inputs.at(-1)!))
    let { inputGradient } = await ends.lossAndGradient(inputs.pop()!, tokens)
    for (const stage of order.toReversed()) {
      inputGradient = await body[stage - 1]!.backward(inputs.pop()!, inputGradient)
    }
    await ends.embedBackward(tokens, inputGradient)
  }
  return { world, machine, ends, body, run, drive }
}

/** The sums that enter each stage's update after these microbatches. */
async function sumsAfter(indices: readonly number[]): Promise<number[][]> {
  const sums: number[][] = []
  const { ends, body, run, drive } = setUp({ updated: (own) => sums.push([...own]) })
  for (const index of indices) await run(drive(index))
  await run(Promise.all([ends, ...body].map((stage) => stage.update(UPDATE))))
  return sums
}

test('sums differ if a microbatch is left out or counted twice', async () => {
  const expected = sumsOf(7, [0, 1, 2, 3])
  for (const sums of await sumsAfter([2, 0, 3, 1])) expect(sums).toEqual(expected)
  for (const wrong of [
    [0, 1, 2],
    [0, 1, 2, 3, 3],
    [0, 1, 2, 2],
    [0, 1, 2, 4],
  ]) {
    for (const sums of await sumsAfter(wrong)) expect(sums).not.toEqual(expected)
  }
  expect(sumsOf(8, [0, 1, 2, 3])).not.toEqual(expected)
})

test('the largest sums are exact in float32', () => {
  const sums = sumsOf(4095, Array(4096).keys())
  expect(Array.from(Float32Array.from(sums))).toEqual(sums)
})

test('weights are a hash of all updates, in their order', async () => {
  const { body, run, drive } = setUp()
  const [stage] = body
  expect(Array.from(stage!.weights)).toEqual(initialWeights(1))
  let expected: ArrayLike<number> = initialWeights(1)
  for (const indices of [[0, 1], [2]]) {
    for (const index of indices) await run(drive(index))
    await run(stage!.update(UPDATE))
    expected = updatedWeights(expected, sumsOf(7, indices))
  }
  expect(stage!.weights).toEqual(expected)
  const swapped = updatedWeights(
    updatedWeights(initialWeights(1), sumsOf(7, [2])),
    sumsOf(7, [0, 1]),
  )
  expect(stage!.weights).not.toEqual(swapped)
})

test.each([[[1, 3, 2]], [[1, 2]], [[1, 2, 2, 3]]])(
  'a microbatch that visited the stages %j is refused',
  async (order) => {
    const violations: string[] = []
    const { run, drive } = setUp({ violated: (what) => violations.push(what) })
    await expect(run(drive(5, order))).rejects.toThrow('by another way')
    expect(violations).toEqual([expect.stringContaining('step 7 microbatch 5')])
  },
)

test('a gradient of another microbatch is refused', async () => {
  const { ends, body, run } = setUp()
  const [one, other] = await run(
    Promise.all([1, 2].map((index) => ends.embed(costTokens(7, index, 2)))),
  )
  await expect(run(body[0]!.backward(one!, other!))).rejects.toThrow('mixed up')
})

test('a cost stage does one call at a time, slower on a slow machine, and none on a frozen one', async () => {
  const { world, machine, body, run } = setUp()
  const input = new Float32Array(ELEMENTS)
  const [stage] = body
  const ends: number[] = []
  const forward = () => stage!.forward(input).then(() => ends.push(world.clock.now()))
  await run(Promise.all([forward(), forward()]))
  machine.slowness = 3
  await run(forward())
  const frozen = forward()
  machine.freeze()
  await run(world.clock.sleep(1000))
  expect(ends).toEqual([10, 20, 50])
  machine.thaw()
  await run(frozen)
  expect(ends.at(-1)).toBe(1050)
})

test('its whole state moves to another holder', async () => {
  const [from, to] = [setUp(), setUp()]
  await from.run(from.drive(3))
  await from.run(from.body[1]!.update(UPDATE))
  const state = await from.run(from.body[1]!.optimizerState())
  await to.run(to.body[1]!.load(from.body[1]!.weights, state))
  expect(to.body[1]!.weights).toEqual(from.body[1]!.weights)
  expect(await to.run(to.body[1]!.optimizerState())).toEqual(state)
})

test('real nodes train cost stages: every update of every stage counts each microbatch once', async () => {
  const run = tinyRun({
    stages: STAGES,
    microbatches: 5,
    steps: 6,
    microbatch: { batch: 1, context: 2 },
    model: { ...tinyRun().model, hiddenSize: 2, heads: 1, keyValueHeads: 1, layers: STAGES },
  })
  const world = new World({ seed: 1 })
  const network = new VirtualNetwork({ world, links: () => DEFAULT_LINK })
  const updates: { stage: number; sums: readonly number[] }[] = []
  const violations: string[] = []
  const data = (step: number, index: number) => ({
    tokens: costTokens(step, index, 2),
    targets: costTokens(step, index, 2),
  })
  const peers = Array.from({ length: STAGES + 1 }, (_, i) => {
    const peer = network.join(`peer-${i}`)
    peer.learn('peer-0', ['sim://peer-0'])
    return startPeer(
      peer,
      i === 0 ? null : 'peer-0',
      { run, corpus: tinyCorpus(), clock: peer.machine.clock },
      {
        createStage: async (stage) =>
          createCostStage(stage, {
            machine: peer.machine,
            costMs: () => 5,
            stages: STAGES,
            elements: ELEMENTS,
            violated: (what) => violations.push(what),
            updated: (sums) => updates.push({ stage, sums }),
          }),
        loadData: async () => ({ training: data, heldOut: (index) => data(0, index) }),
      },
    )
  })
  const all = Promise.all(peers.map(({ finished }) => finished))
  const finished = await world.run(all, { waitingFor: 'the run', untilMs: 600_000 })
  expect(finished[0]).toEqual({ committed: 6, failure: null })
  expect(violations).toEqual([])
  for (let stage = 0; stage <= STAGES; stage++) {
    const own = updates.filter((update) => update.stage === stage).map(({ sums }) => sums)
    expect(own).toEqual([1, 2, 3, 4, 5, 6].map((step) => sumsOf(step, [0, 1, 2, 3, 4])))
  }
  expect(updates[0]!.sums).toHaveLength(COST_WEIGHTS)
})
