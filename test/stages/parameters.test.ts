/** Layout of the weights, and their initial values. */
import { expect, it } from 'vitest'
import { initializeWeights, layoutOf, parameterView } from '../../stages/parameters.ts'
import { Random } from '../../stages/random.ts'
import { config } from './fixtures.ts'

function initial(bodyStages: number): Map<string, Float32Array> {
  const tensors = new Map<string, Float32Array>()
  for (let stage = 0; stage <= bodyStages; stage++) {
    const layout = layoutOf({ ...config, bodyStages }, stage)
    const flat = new Float32Array(layout.length)
    initializeWeights(flat, layout, new Random('seed'))
    for (const parameter of layout.parameters) {
      tensors.set(parameter.name, parameterView(flat, parameter))
    }
  }
  return tensors
}

it('draws the same weights for every division of the layers', () => {
  expect(initial(6)).toEqual(initial(1))
})

it('draws each matrix from N(0, 0.02), and sets norms to 1', () => {
  const tensors = initial(3)
  const [up, gate] = ['up', 'gate'].map(
    (name) => tensors.get(`model.layers.3.mlp.${name}_proj.weight`)!,
  )
  expect(up).not.toEqual(gate)
  const deviation = Math.sqrt(up!.reduce((sum, w) => sum + w * w, 0) / up!.length)
  expect([deviation]).toBeAllclose([0.02], { relative: 0.1 })
  expect(new Set(tensors.get('model.norm.weight'))).toEqual(new Set([1]))
})

it('has the same layout for all body stages, in whole chunks', () => {
  const big = { ...config, model: { ...config.model, hiddenSize: 256, intermediateSize: 700 } }
  const [first, last] = [layoutOf(big, 1), layoutOf(big, 3)]
  const places = ({ parameters }: typeof first) =>
    parameters.map(({ offset, length }) => [offset, length])
  expect(places(first)).toEqual(places(last))
  expect(first.length).toBe(last.length)
  const { parameters, length, chunk } = first
  const used = parameters.at(-1)!.offset + parameters.at(-1)!.length
  expect(length % chunk).toBe(0)
  expect(length / chunk).toBeGreaterThan(1)
  expect(chunk).toBeLessThanOrEqual(1 << 18)
  expect(length - used).toBeLessThan(16 * (length / chunk))
})
