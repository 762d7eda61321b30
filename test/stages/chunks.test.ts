/** A run in pieces gives what it gives whole. */
import { describe, expect, it } from 'vitest'
import { headRows, LIMITS, type Limits } from '../../stages/chunks.ts'
import { createLocalStage } from '../../stages/onnx-stage.ts'
import { endsPrograms } from '../../stages/programs.ts'
import { activation, config, options, tokens } from './fixtures.ts'

const { vocabSize } = config.model

describe('the head', () => {
  const limits: Limits = { ...LIMITS, logits: 3 * vocabSize * 4 }

  it('takes as many rows as divide the microbatch and keep the logits within their limit', () => {
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

  it('never holds the logits of more rows than that', () => {
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
