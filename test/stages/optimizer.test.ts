/** Each optimizer against its definition in float64, over some steps; and clipping. */
import { expect, it } from 'vitest'
import { clipFactor, wholeNorm } from '../../stages/clip.ts'
import { createLocalStage } from '../../stages/onnx-stage.ts'
import { OPTIMIZER_KINDS, type OptimizerKind } from '../../stages/optimizer.ts'
import { activation, config, options } from './fixtures.ts'

const learningRate = 0.01
const gradientScale = 0.5
const { beta1, beta2, epsilon, weightDecay } = config.optimizer

interface Memory {
  m: number
  v: number
}

/** Definitions of the papers and of PyTorch, for one weight. */
const DEFINITIONS: Record<
  OptimizerKind,
  (w: number, g: number, memory: Memory, t: number) => number
> = {
  adamw: (w, g, memory, t) => {
    memory.m = beta1 * memory.m + (1 - beta1) * g
    memory.v = beta2 * memory.v + (1 - beta2) * g * g
    const [m, v] = [memory.m / (1 - beta1 ** t), memory.v / (1 - beta2 ** t)]
    return w - learningRate * weightDecay * w - (learningRate * m) / (Math.sqrt(v) + epsilon)
  },
  sgd: (w, g, memory) => {
    memory.m = beta1 * memory.m + g
    return w - learningRate * weightDecay * w - learningRate * memory.m
  },
}

/** Gradient sums of a backward. Without momentum an update with learning rate 1 subtracts them from the weights. */
async function gradientOf(weights: Float32Array): Promise<Float32Array> {
  const plain = { ...config.optimizer, kind: 'sgd', beta1: 0, weightDecay: 0 } as const
  const stage = await createLocalStage({ ...config, optimizer: plain }, 1, options)
  await stage.load(weights)
  await stage.backward(activation('x'), activation('dy'))
  await stage.update({ gradientScale: 1, learningRate: 0 })
  const { firstMoment } = await stage.optimizerState()
  await stage.close()
  return firstMoment
}

it.each(OPTIMIZER_KINDS)(
  '%s does what it is defined as, and comes back from its state',
  async (kind) => {
    const stage = await createLocalStage(
      { ...config, optimizer: { ...config.optimizer, kind } },
      1,
      options,
    )
    const expected = Float64Array.from(stage.weights)
    const memory = Array.from(expected, () => ({ m: 0, v: 0 }))
    for (let t = 1; t <= 4; t++) {
      const gradient = await gradientOf(stage.weights.slice())
      await stage.backward(activation('x'), activation('dy'))
      await stage.update({ gradientScale, learningRate })
      for (const [i, g] of gradient.entries()) {
        expected[i] = DEFINITIONS[kind](expected[i]!, gradientScale * g, memory[i]!, t)
      }
      expect(stage.weights).toBeAllclose(expected, { relative: 1e-5 })
      await stage.load(stage.weights.slice(), await stage.optimizerState())
    }
    const { firstMoment, secondMoment, updates } = await stage.optimizerState()
    expect(updates).toBe(4)
    expect(firstMoment).toBeAllclose(
      memory.map(({ m }) => m),
      { relative: 1e-4 },
    )
    if (kind === 'sgd') expect(secondMoment).toHaveLength(0)
    else
      expect(secondMoment).toBeAllclose(
        memory.map(({ v }) => v),
        { relative: 1e-4 },
      )
    await stage.close()
  },
)

it('clips to a norm of a stage, and of the whole model', () => {
  expect(clipFactor(0.5, 1)).toBe(1)
  expect(clipFactor(0, 1)).toBe(1)
  expect(10 * clipFactor(10, 1)).toBeCloseTo(1, 5)
  // The parts (3) and (0, 4) of two stages.
  expect(wholeNorm([Math.hypot(3), Math.hypot(0, 4)])).toBeCloseTo(Math.hypot(3, 0, 4), 12)
})
