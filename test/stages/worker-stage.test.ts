/** A stage in its own thread against the same stage in this one. */
import { expect, it } from 'vitest'
import { createLocalStage } from '../../stages/onnx-stage.ts'
import { createWorkerStage } from '../../stages/worker-stage.ts'
import { activation, config, options, tokens } from './fixtures.ts'

const update = { gradientScale: 0.5, learningRate: 0.01 }

it('computes a body stage to the last bit as in this thread', async () => {
  const stages = [
    await createLocalStage(config, 1, options),
    await createWorkerStage(config, 1, options),
  ] as const
  const results = []
  for (const stage of stages) {
    const output = await stage.forward(activation('x'))
    const inputGradient = await stage.backward(activation('x'), output)
    const norm = await stage.gradientNorm()
    await stage.update(update)
    const state = await stage.optimizerState()
    const { kind, parameters, weights } = stage
    results.push({ kind, parameters, output, inputGradient, norm, state, weights: weights.slice() })
    await stage.close()
  }
  expect(results[1]).toEqual(results[0])
})

it('transfers values kept as float16 without a change', async () => {
  const own = { ...config, keep: 'all', keepDtype: 'float16' } as const
  const stages = [
    await createLocalStage(own, 1, options),
    await createWorkerStage(own, 1, options),
  ] as const
  const results = []
  for (const stage of stages) {
    const { output, kept } = await stage.forwardKeeping(activation('x'))
    const read = structuredClone(kept)
    const gradient = await stage.backward(activation('x'), output, kept)
    results.push({ output, kept: read, gradient })
    await stage.close()
  }
  expect(Object.values(results[1]!.kept).every((each) => each instanceof Uint16Array)).toBe(true)
  expect(results[1]).toEqual(results[0])
})

it('computes the ends to the last bit as in this thread', async () => {
  const stages = [
    await createLocalStage(config, 0, options),
    await createWorkerStage(config, 0, options),
  ] as const
  const results = []
  for (const stage of stages) {
    const embedded = await stage.embed(tokens('t'))
    const { loss, inputGradient } = await stage.lossAndGradient(embedded, tokens('u'))
    await stage.embedBackward(tokens('t'), inputGradient)
    await stage.update(update)
    const after = await stage.loss(embedded, tokens('u'))
    results.push({ embedded, loss, inputGradient, after, weights: stage.weights.slice() })
    await stage.close()
  }
  expect(results[1]).toEqual(results[0])
})

it('reports why it could not be created, and leaves no thread', async () => {
  await expect(createWorkerStage({ ...config, bodyStages: 4 }, 1, options)).rejects.toThrow(
    '6 layers cannot be dealt evenly to 4 body stages',
  )
})
