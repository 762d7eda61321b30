/** The division of layers into stages, and of a microbatch into runs, changes rounding alone. */
import { describe, expect, it } from 'vitest'
import { sequencesPerRun } from '../../stages/chunks.ts'
import type { StageConfig } from '../../stages/model.ts'
import { createLocalStage } from '../../stages/onnx-stage.ts'
import { parameterView } from '../../stages/parameters.ts'
import { Random } from '../../stages/random.ts'
import type { AnyStage, BodyStage } from '../../stages/stage.ts'
import { activation, config, options } from './fixtures.ts'

/** Gradients of all body parameters by name, and of the input, for a fixed input and output gradient. */
async function gradientsWith(bodyStages: number): Promise<Map<string, Float32Array>> {
  const stages: BodyStage[] = []
  for (let stage = 1; stage <= bodyStages; stage++) {
    const created: AnyStage = await createLocalStage({ ...config, bodyStages }, stage, options)
    stages.push(created as BodyStage)
  }
  const inputs = [activation('input')]
  for (const stage of stages) inputs.push(await stage.forward(inputs.at(-1)!))
  let gradient = activation('output gradient')
  for (const [i, stage] of [...stages.entries()].toReversed()) {
    gradient = await stage.backward(inputs[i]!, gradient)
  }
  const gradients = new Map([['input', gradient]])
  for (const stage of stages) {
    await stage.update({ gradientScale: 1, learningRate: 0 })
    // The moments start at zero, so the first moment is (1 - beta1) times the gradient.
    const { firstMoment } = await stage.optimizerState()
    for (const parameter of stage.parameters) {
      gradients.set(parameter.name, parameterView(firstMoment, parameter))
    }
    await stage.close()
  }
  return gradients
}

it('gives the same gradients from 1, 2, 3 and 6 body stages', async () => {
  const expected = await gradientsWith(1)
  expect(expected.size).toBe(1 + 9 * config.model.layers)
  for (const bodyStages of [2, 3, 6]) {
    const actual = await gradientsWith(bodyStages)
    expect([...actual.keys()]).toEqual([...expected.keys()])
    for (const [name, gradient] of actual) {
      expect(gradient).toBeAllclose(expected.get(name)!, { relative: 1e-5 })
    }
  }
})

it('refuses an uneven division of layers, and a stage that does not exist', async () => {
  await expect(createLocalStage({ ...config, bodyStages: 4 }, 1, options)).rejects.toThrow(
    '6 layers cannot be dealt evenly to 4 body stages',
  )
  await expect(createLocalStage(config, 4, options)).rejects.toThrow('body stage 4 is not in 1..3')
})

describe('a microbatch of many rows', () => {
  const long: StageConfig = { ...config, microbatch: { batch: 6, context: 100 }, bodyStages: 6 }

  it('is divided into equal runs of at most 512 rows a thread on a CPU, and not on a GPU', () => {
    expect(sequencesPerRun(long, { provider: 'cpu', threads: 1 })).toBe(3)
    expect(sequencesPerRun(long, { provider: 'cpu', threads: 2 })).toBe(6)
    expect(sequencesPerRun(long, { provider: 'cuda', threads: 1 })).toBe(6)
    const longer = { ...long, microbatch: { batch: 5, context: 1000 } }
    expect(sequencesPerRun(longer, { provider: 'cpu', threads: 1 })).toBe(1)
  })

  it('has the same results in two runs as in one', async () => {
    const random = new Random('long')
    const { batch, context } = long.microbatch
    const length = batch * context * long.model.hiddenSize
    const x = Float32Array.from({ length }, () => random.gaussian())
    const tokens = Int32Array.from({ length: batch * context }, () => random.integer(31))
    const results = []
    for (const threads of [1, 2]) {
      const body = await createLocalStage(long, 1 as number, { ...options, threads })
      const ends = await createLocalStage(long, 0, { ...options, threads })
      const output = await (body as BodyStage).forward(x)
      const inputGradient = await (body as BodyStage).backward(x, output)
      const top = await ends.lossAndGradient(x, tokens)
      const loss = await ends.loss(x, tokens)
      await ends.embedBackward(tokens, x)
      const embedded = await ends.embed(tokens)
      const norms = [await body.gradientNorm(), await ends.gradientNorm(), top.loss, loss]
      results.push([output, inputGradient, top.inputGradient, embedded, norms])
      await body.close()
      await ends.close()
    }
    for (const [i, result] of results[0]!.entries()) {
      expect(result).toBeAllclose(results[1]![i]!, { relative: 1e-5 })
    }
  })
})
