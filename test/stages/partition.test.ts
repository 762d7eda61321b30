/** How the layers are dealt out changes nothing but rounding. */
import { expect, it } from 'vitest'
import { createLocalStage } from '../../stages/onnx-stage.ts'
import { parameterView } from '../../stages/parameters.ts'
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
    // From zero: (1 - beta1) times the gradient.
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

it('refuses layers that cannot be dealt evenly, and stages that are not there', async () => {
  await expect(createLocalStage({ ...config, bodyStages: 4 }, 1, options)).rejects.toThrow(
    '6 layers cannot be dealt evenly to 4 body stages',
  )
  await expect(createLocalStage(config, 4, options)).rejects.toThrow('body stage 4 is not in 1..3')
})
