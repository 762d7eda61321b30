/** Sessions: the guard that avoids copies, the way without it, sharing, and errors. */
import { describe, expect, it } from 'vitest'
import { Graph } from '../../stages/graph.ts'
import { encodeModel } from '../../stages/onnx.ts'
import { chooseProvider, ProviderError } from '../../stages/provider.ts'
import { createSession, guardWorks, tensor } from '../../stages/session.ts'
import { runGraph } from './run-graph.ts'

const options = { provider: 'cpu', threads: 1 } as const

function exponential(): Graph {
  const graph = new Graph()
  graph.output('y', graph.add('Exp', [graph.float('x', [3])]))
  return graph
}

describe('the guard', () => {
  it('works with this version of ONNX Runtime', async () => {
    expect(await guardWorks()).toBe(true)
  })

  it('has the results of copies, in place and not', async () => {
    for (const inPlace of [false, true]) {
      const results = []
      for (const copies of [false, true]) {
        const graph = new Graph()
        const sum = graph.float('sum', [2, 2])
        const product = graph.add('Gemm', [graph.float('a', [2, 2]), graph.float('b', [2, 2]), sum])
        graph.output('y', product, inPlace ? sum : undefined)
        const feeds = {
          a: Float32Array.of(1, 2, 3, 4),
          b: Float32Array.of(5, 6, 7, 8),
          sum: Float32Array.of(9, 10, 11, 12),
        }
        const { y } = await runGraph(graph, feeds, { copies })
        results.push({ y, sum: feeds.sum })
      }
      expect(results[0]!.y).toEqual(Float32Array.of(28, 32, 54, 62))
      expect(results[1]).toEqual(results[0])
    }
  })

  it('does not hide errors of the graph', async () => {
    const graph = new Graph()
    const rows = graph.add('Gather', [graph.float('x', [3, 1]), graph.input('i', 'int32', [1])])
    graph.output('y', rows)
    const feeds = { x: new Float32Array(3), i: Int32Array.of(3) }
    for (const copies of [false, true]) {
      await expect(runGraph(graph, feeds, { copies })).rejects.toThrow(
        /must be within the inclusive range/,
      )
    }
  })

  it('refuses output tensors of another shape', async () => {
    const session = await createSession(encodeModel(exponential()), options)
    const x = tensor(new Float32Array(3), [3])
    const y = tensor(new Float32Array(4), [4])
    await expect(session.runInto({ x }, { y })).rejects.toThrow(/invalid dimensions/)
    await session.release()
  })
})

it('shares a compiled model until the last holder releases it', async () => {
  const model = encodeModel(exponential())
  const [one, two] = await Promise.all([
    createSession(model, options),
    createSession(model, options),
  ])
  // A second release of the same session does not count.
  await one.release()
  await one.release()
  const y = tensor(new Float32Array(3), [3])
  await two.runInto({ x: tensor(new Float32Array(3), [3]) }, { y })
  expect(y.data).toEqual(Float32Array.of(1, 1, 1))
  await two.release()
  await expect(two.runInto({ x: y }, { y })).rejects.toThrow(/disposed/)
})

it('refuses bytes that are no model, every time', async () => {
  for (let i = 0; i < 2; i++) {
    await expect(createSession(Uint8Array.of(1, 2, 3), options)).rejects.toThrow()
  }
})

describe('the provider', () => {
  it('is the CPU when asked for', async () => {
    expect(await chooseProvider('cpu')).toEqual({ provider: 'cpu', reason: 'as asked' })
  })

  it('is one that works, with a reason, for auto', async () => {
    const { provider, reason } = await chooseProvider('auto')
    expect(reason).toMatch(provider === 'cuda' ? /CUDA works/ : /CUDA cannot be used: .+/)
  })

  it('is an error that says what to install if CUDA is requested and missing', async () => {
    const auto = await chooseProvider('auto')
    const asked = chooseProvider('cuda')
    if (auto.provider === 'cuda') expect((await asked).provider).toBe('cuda')
    else {
      await expect(asked).rejects.toThrow(ProviderError)
      await expect(asked).rejects.toThrow(/libonnxruntime_providers_cuda\.so|Linux x64 only/)
    }
  })
})
