/** Building graphs: clear errors, and no unused constants. */
import { expect, it } from 'vitest'
import { Graph } from '../../stages/graph.ts'
import { encodeModel } from '../../stages/onnx.ts'
import { ShapeError } from '../../stages/shape.ts'

it('names the node, the operator and the shapes of an error', () => {
  const graph = new Graph()
  const [a, b] = [graph.float('a', [4, 3]), graph.float('b', [5, 6])]
  const build = () => graph.scope('mlp', () => graph.add('Gemm', [a, b], { transB: 1 }))
  expect(build).toThrow(ShapeError)
  expect(build).toThrow(
    'mlp/Gemm_0: Gemm of float32 [4, 3], float32 [5, 6]: inner dimensions 3 and 6 differ',
  )
})

it.each([
  ['Add', '2, 3', {}, 'dimensions 2 and 3 do not broadcast'],
  ['Gemm', '2x2', {}, 'takes 2..3 operands, not 1'],
  ['Gemm', '2x3, 3x4, 3x4', {}, 'dimensions 3 and 2 do not broadcast'],
  ['FusedMatMul', '2x3x4, 3x4x5', {}, 'leading dimensions differ'],
  ['FusedMatMul', '3, 3', {}, '[3] is not a matrix'],
  ['Transpose', '2x3', { perm: [0, 0] }, '[0,0] does not permute its axes'],
  ['RotaryEmbedding', '1x1x4x6, 1, 4x2, 4x2', {}, '[4,2] should be [4,3]'],
  ['GatherElements', '2x3, 2x1', { axis: 2 }, 'there is no axis 2'],
  ['Softmax', '2x3', { axis: 0 }, 'works along the last axis only'],
  ['SimplifiedLayerNormalization', '2x3, 2', { axis: -1 }, '[2] should be [3]'],
  ['QuickGelu', '2', { alpha: 1.7 }, 'only alpha 1, SiLU, has a gradient rule'],
] as const)('refuses %s of %s', (op, shapes, attributes, reason) => {
  const graph = new Graph()
  const inputs = shapes
    .split(', ')
    .map((shape, i) => graph.float(`x${i}`, shape.split('x').map(Number)))
  expect(() => graph.add(op, inputs, attributes)).toThrow(reason)
})

it('refuses shapes with another number of elements', () => {
  const graph = new Graph()
  const x = graph.float('x', [2, 3])
  expect(() => graph.add('Reshape', [x, graph.integers([4])])).toThrow('cannot become [4]')
  expect(() => graph.add('Reshape', [x, x])).toThrow('takes a constant here')
})

it('names an unknown operator and its node', () => {
  const graph = new Graph()
  const build = () => graph.scope('mlp', () => graph.add('Erf' as 'Exp', [graph.float('x', [1])]))
  expect(build).toThrow('mlp/Erf_0: there is no operator Erf')
})

it('refuses attributes that are not in the table', () => {
  const graph = new Graph()
  graph.output('y', graph.add('Exp', [graph.float('x', [1])], { slope: 1 }))
  expect(() => encodeModel(graph)).toThrow('Exp_0: there is no attribute slope')
})

it('refuses an output that no node computes, and the same value twice', () => {
  const graph = new Graph()
  const x = graph.float('x', [1])
  expect(() => graph.output('y', x)).toThrow('output y must be a computed value')
  const y = graph.add('Exp', [x])
  graph.output('y', y)
  expect(() => graph.output('z', y)).toThrow('output z must be a computed value')
})

it('writes equal constants once, and no unused constant', () => {
  const graph = new Graph()
  expect(graph.scalar(2)).toBe(graph.scalar(2))
  expect(graph.scalar(2)).not.toBe(graph.constant([1], Float32Array.of(2)))
  graph.output('y', graph.add('Exp', [graph.float('x', [1])]))
  const small = encodeModel(graph).length
  graph.constant([100], new Float32Array(100))
  expect(encodeModel(graph)).toHaveLength(small)
})
