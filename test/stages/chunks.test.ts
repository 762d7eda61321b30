/** A divided run has the results of the whole run. */
import { describe, expect, it } from 'vitest'
import { headRows, keyPieces, LIMITS, type Limits, queryChunks } from '../../stages/chunks.ts'
import type { Node } from '../../stages/graph.ts'
import { createLocalStage } from '../../stages/onnx-stage.ts'
import { bodyPrograms, endsPrograms } from '../../stages/programs.ts'
import { Random } from '../../stages/random.ts'
import { sizeOf } from '../../stages/shape.ts'
import { activation, config, options, tokens } from './fixtures.ts'
import { interpret } from './interpreter.ts'
import { runGraph } from './run-graph.ts'

const { vocabSize } = config.model

function leadsTo(from: Node, to: Node): boolean {
  const seen = new Set<Node>()
  const pending = [to]
  for (const node of pending) {
    for (const { node: source } of node.inputs) {
      if (source === undefined || seen.has(source)) continue
      seen.add(source)
      pending.push(source)
    }
  }
  return seen.has(from)
}

describe('the head', () => {
  const limits: Limits = { ...LIMITS, logits: 3 * vocabSize * 4 }

  it('has runs of equal size that keep the logits within their limit', () => {
    expect(headRows(config, 2, LIMITS)).toBe(18)
    expect(headRows(config, 1, LIMITS)).toBe(9)
    expect(headRows(config, 2, limits)).toBe(3)
    expect(headRows(config, 2, { ...limits, logits: 5 * vocabSize * 4 })).toBe(3)
    expect(headRows(config, 2, { ...limits, logits: 1 })).toBe(1)
  })

  it('stays whole in a small model, and within 32 MiB at a vocabulary of 32,000', () => {
    const small = { ...config, model: { ...config.model, vocabSize: 256 } }
    const microbatch = { batch: 1, context: 4096 }
    expect(headRows({ ...small, microbatch }, 1, LIMITS)).toBe(4096)
    const large = { ...config, microbatch, model: { ...config.model, vocabSize: 32_000 } }
    expect(headRows(large, 1, LIMITS)).toBe(256)
  })

  it('never has the logits of more rows', () => {
    for (const program of ['loss', 'lossAndGradient'] as const) {
      const graph = endsPrograms(config, 2, limits)[program]
      const values = graph.nodes.flatMap((node) => node.outputs)
      const rows = values.filter(({ shape }) => shape[1] === vocabSize).map(({ shape }) => shape[0])
      expect(new Set(rows)).toEqual(new Set([3]))
    }
  })

  it('gives the same loss, gradients and sums in six runs as in one', async () => {
    const results = []
    for (const each of [LIMITS, limits]) {
      const stage = await createLocalStage(config, 0, { ...options, limits: each })
      const loss = await stage.loss(activation('x'), tokens('t'))
      const top = await stage.lossAndGradient(activation('x'), tokens('t'))
      await stage.update({ gradientScale: 1, learningRate: 0 })
      const { firstMoment } = await stage.optimizerState()
      results.push([[loss, top.loss], top.inputGradient, firstMoment])
      await stage.close()
    }
    for (const [i, whole] of results[0]!.entries()) {
      expect(results[1]![i]!).toBeAllclose(whole, { relative: 1e-5 })
    }
  })
})

describe('attention', () => {
  const { heads } = config.model
  const { context } = config.microbatch
  /** Chunks of 9 tokens: 4, 4 and 1. */
  const limits: Limits = { ...LIMITS, scores: 4 * 2 * heads * context * 4, leastQueries: 1 }
  const one = { ...config, bodyStages: 3 }
  const whole = bodyPrograms(one, 2, LIMITS)
  const streamed = bodyPrograms(one, 2, limits)

  it('has chunks of queries that keep the scores within the limit', () => {
    expect(queryChunks(context, 2 * heads, LIMITS)).toEqual([9])
    expect(queryChunks(context, 2 * heads, limits)).toEqual([4, 4, 1])
    expect(queryChunks(512, 16, LIMITS)).toEqual([512])
    expect(queryChunks(4096, 4, LIMITS)).toEqual(Array(8).fill(512))
    expect(queryChunks(100, 1, { ...limits, scores: 1, leastQueries: 64 })).toEqual([64, 36])
  })

  it('has a bounded number of pieces of keys, which end at ends of chunks', () => {
    expect(keyPieces([4, 4, 1], limits)).toEqual([4, 4, 1])
    expect(keyPieces([4, 4, 4, 4, 1], { ...limits, keyPieces: 3 })).toEqual([8, 8, 1])
    expect(keyPieces(queryChunks(32_768, 4, LIMITS), LIMITS)).toEqual(Array(16).fill(2048))
  })

  it('has a graph that grows linearly with the chunks', () => {
    const nodes = (context: number) => {
      const long = { ...one, microbatch: { batch: 1, context } }
      const thin: Limits = { ...limits, scores: 1, leastQueries: 8 }
      return bodyPrograms(long, 1, thin).backward.nodes.length
    }
    expect(nodes(1024)).toBeLessThan(2.1 * nodes(512))
  })

  it('computes no scores of keys that are masked for the whole chunk', () => {
    const shapes = streamed.backward.nodes
      .filter(({ op }) => op === 'Softmax')
      .map(({ outputs }) => outputs[0]!.shape.slice(-2).join())
    // Two layers: forward, and again for the gradient with the last chunk first.
    const chunks = ['4,4', '4,8', '1,9']
    const twice = [...chunks, ...chunks]
    expect(shapes).toEqual([...twice, ...twice.toReversed()])
  })

  const softmaxes = streamed.backward.nodes.filter(({ op }) => op === 'Softmax')

  it('computes the scores of a chunk after the chunk before, and in backward after the chunk behind', () => {
    for (const chunks of [softmaxes.slice(0, 3), softmaxes.slice(-3)]) {
      expect(leadsTo(chunks[0]!, chunks[1]!) && leadsTo(chunks[1]!, chunks[2]!)).toBe(true)
    }
  })

  it('gives the scores another shape the second time, so that they do not reuse the memory of the first', () => {
    const ranks = softmaxes.map(({ outputs }) => outputs[0]!.shape.length)
    expect(ranks).toEqual([4, 4, 4, 4, 4, 4, 5, 5, 5, 5, 5, 5])
  })

  it('does not compute attention again if its output was kept', () => {
    const { backward } = bodyPrograms({ ...one, keep: 'attention' }, 2, limits)
    const again = backward.nodes.filter(({ op }) => op === 'Softmax')
    expect(again).toHaveLength(6)
  })

  const inTwoPieces = bodyPrograms(one, 2, { ...limits, keyPieces: 2 })

  it('masks the keys of a piece that are behind its first chunk', () => {
    const shapes = inTwoPieces.forward.nodes
      .filter(({ op }) => op === 'Softmax')
      .map(({ outputs }) => outputs[0]!.shape.slice(-2).join())
    const chunks = ['4,8', '4,8', '1,9']
    expect(shapes).toEqual([...chunks, ...chunks])
  })

  it.each([
    ['forward', 'a piece of keys a chunk', streamed],
    ['backward', 'a piece of keys a chunk', streamed],
    ['forward', 'two pieces of keys', inTwoPieces],
    ['backward', 'two pieces of keys', inTwoPieces],
  ] as const)('%s gives what float64 gives unstreamed: %s', async (name, _, pieced) => {
    const feeds = () =>
      Object.fromEntries(
        whole[name].inputs.map(({ name: input, shape }) => {
          const random = new Random(input)
          return [
            input,
            Float32Array.from({ length: sizeOf(shape) }, () => 0.3 * random.gaussian()),
          ]
        }),
      )
    const values = interpret(whole[name], feeds())
    for (const optimization of ['disabled', 'all'] as const) {
      const results = await runGraph(pieced[name], feeds(), { optimization })
      for (const { name: output, value } of whole[name].outputs) {
        expect(results[output]!).toBeAllclose(values.get(value)!.data, { relative: 1e-5 })
      }
    }
  })
})
