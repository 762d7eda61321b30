/** A shaken stage computes as another machine would. The same inputs always give the same outputs, with other rounding. */
import { expect, test } from 'vitest'
import { shakenBy, shakenNumber, shakeTensor } from '../../../sim/world/shaken-stage.ts'
import { stageConfig } from '../../../src/run/run.ts'
import { createLocalStage } from '../../../stages/onnx-stage.ts'
import { Random } from '../../../stages/random.ts'
import type { BodyStage, EndsStage } from '../../../stages/stage.ts'
import { tinyRun } from '../../fixtures/swarm.ts'

const config = stageConfig(tinyRun())
const { batch, context } = config.microbatch
const ELEMENTS = batch * context * config.model.hiddenSize

async function stage<S>(index: number): Promise<S> {
  const options = { provider: 'cpu', threads: 1, random: new Random('stage') } as const
  return (await createLocalStage(config, index, options)) as S
}

const input = () => Float32Array.from({ length: ELEMENTS }, (_, i) => Math.sin(i + 1))

/** The difference of each pair of elements in units in the last place. A pair must have one sign. */
function ulps(one: Float32Array, other: Float32Array): number[] {
  const bits = new Int32Array(other.buffer, other.byteOffset, other.length)
  return [...new Int32Array(one.buffer, one.byteOffset, one.length)].map(
    (each, i) => each - bits[i]!,
  )
}

test('elements move by -1, 0 or 1 units in the last place, as the seed says, and zero, NaN and infinity stay', () => {
  const tensor = Float32Array.from({ length: 300 }, (_, i) => (i % 2 === 0 ? 1 : -1) / (i + 1))
  tensor.set([0, Number.NaN, Infinity])
  const [one, again, other] = [tensor.slice(), tensor.slice(), tensor.slice()]
  shakeTensor(1, one)
  shakeTensor(1, again)
  shakeTensor(2, other)
  expect(one.slice(0, 3)).toEqual(tensor.slice(0, 3))
  const moves = ulps(one, tensor)
  expect(new Set(moves)).toEqual(new Set([-1, 0, 1]))
  for (const move of [-1, 0, 1]) {
    expect(moves.filter((each) => each === move).length).toBeGreaterThan(70)
  }
  expect(again).toEqual(one)
  expect(other).not.toEqual(one)
})

test('elements that were not computed stay', () => {
  const before = Float32Array.from({ length: 100 }, (_, i) => i + 1)
  const after = before.map((value, i) => (i < 50 ? value : value + 0.5))
  const moved = after.slice()
  shakeTensor(1, moved, before)
  expect(moved.slice(0, 50)).toEqual(before.slice(0, 50))
  expect(moved.slice(50)).not.toEqual(after.slice(50))
})

test('a number that float32 holds moves by its ulp, any other number by that of float64', () => {
  const moves = Array.from({ length: 20 }, (_, i) => {
    const [single, double] = [Math.fround(1 + i / 70), 1.01 + i / 70]
    const moved = shakenNumber(1, single)
    expect(Math.fround(moved)).toBe(moved)
    expect(Math.abs(moved / single - 1)).toBeLessThan(1.2e-7)
    expect(Math.abs(shakenNumber(1, double) / double - 1)).toBeLessThan(2.3e-16)
    return [moved !== single, shakenNumber(1, double) !== double]
  })
  for (const kind of [0, 1]) expect(moves.some((moved) => moved[kind])).toBe(true)
  expect([0, Infinity].map((value) => shakenNumber(1, value))).toEqual([0, Infinity])
})

test('the outputs, sums and weights of a body stage differ from those of the real one', async () => {
  const real = await stage<BodyStage>(1)
  const shaken = shakenBy(1, await stage<BodyStage>(1))
  expect(shaken.weights).toEqual(real.weights)
  const outputs = [await real.forward(input()), await shaken.forward(input())] as const
  expect(outputs[1]).not.toEqual(outputs[0])
  expect(outputs[1]).toBeAllclose(outputs[0], { relative: 1e-6 })
  const { output, kept } = await shaken.forwardKeeping(input())
  expect(output).toEqual(outputs[1])
  const gradients = [
    await real.backward(input(), input()),
    await shaken.backward(input(), input(), kept),
  ] as const
  expect(gradients[1]).not.toEqual(gradients[0])
  expect(gradients[1]).toBeAllclose(gradients[0], { relative: 1e-6 })
  expect(shaken.sums).not.toEqual(real.sums)
  expect(shaken.sums).toBeAllclose(real.sums, { relative: 1e-6 })
  for (const each of [real, shaken]) await each.update({ gradientScale: 1, learningRate: 0.01 })
  expect(shaken.weights).not.toEqual(real.weights)
  const { firstMoment } = await shaken.optimizerState()
  expect(firstMoment).toEqual(new Float32Array(shaken.moments.firstMoment))
  await Promise.all([real.close(), shaken.close()])
})

test('the loss and the gradient of the ends move, too', async () => {
  const real = await stage<EndsStage>(0)
  const targets = Int32Array.from({ length: batch * context }, (_, i) => i % 7)
  const expected = await real.lossAndGradient(input(), targets)
  const losses = new Set<number>()
  for (const seed of [1, 2, 3, 4]) {
    const shaken = shakenBy(seed, await stage<EndsStage>(0))
    const { loss, inputGradient } = await shaken.lossAndGradient(input(), targets)
    expect(await shaken.loss(input(), targets)).toBe(loss)
    expect(inputGradient).not.toEqual(expected.inputGradient)
    expect(inputGradient).toBeAllclose(expected.inputGradient, { relative: 1e-6 })
    losses.add(loss)
    await shaken.close()
  }
  expect(losses.size).toBeGreaterThan(1)
  await real.close()
})

test('two replicas that apply the same total to the same state end with the same bits', async () => {
  const replicas = [shakenBy(1, await stage<BodyStage>(1)), shakenBy(1, await stage<BodyStage>(1))]
  const total = Float32Array.from(replicas[0]!.sums, (_, i) => Math.cos(i))
  for (const replica of replicas) {
    for (let step = 0; step < 3; step++) {
      replica.sums.set(total)
      await replica.update({ gradientScale: 1 / 3, learningRate: 0.01 })
    }
  }
  const [one, other] = replicas
  expect(other!.weights).toEqual(one!.weights)
  expect(other!.moments).toEqual(one!.moments)
  expect(await other!.gradientNorm()).toBe(0)
  for (const replica of replicas) await replica.close()
})
