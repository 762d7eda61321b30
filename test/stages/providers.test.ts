/** Every available provider has the results of the CPU. The error for a missing provider has a remedy. */
import { describe, expect, it } from 'vitest'
import { KEEPS } from '../../stages/keep.ts'
import type { StageConfig } from '../../stages/model.ts'
import { createLocalStage } from '../../stages/onnx-stage.ts'
import {
  chooseProvider,
  PROVIDER_NAMES,
  type Provider,
  ProviderError,
} from '../../stages/provider.ts'
import { activation, config, options, tokens } from './fixtures.ts'

const works = async (provider: Provider) => {
  try {
    await chooseProvider(provider)
    return true
  } catch (error) {
    expect(error).toBeInstanceOf(ProviderError)
    expect((error as Error).message).toMatch(/cannot be used: .*(install|needs|Linux x64 only)/)
    return false
  }
}

type Policy = Pick<StageConfig, 'keep' | 'keepDtype'>

const POLICIES: readonly Policy[] = [
  ...KEEPS.map((keep) => ({ keep })),
  { keep: 'all', keepDtype: 'float16' },
]

/** Results of a step of both kinds of stage, with the weights after it. */
async function step(provider: Provider, policy: Policy): Promise<Float32Array[]> {
  const own = { ...options, provider }
  const body = await createLocalStage({ ...config, ...policy }, 1, own)
  const ends = await createLocalStage(config, 0, own)
  const results: Float32Array[] = []
  if (body.kind === 'body') {
    const { output, kept } = await body.forwardKeeping(activation('x'))
    results.push(output, await body.backward(activation('x'), activation('dy'), kept))
  }
  const embedded = await ends.embed(tokens('t'))
  const { loss, inputGradient } = await ends.lossAndGradient(activation('x'), tokens('u'))
  await ends.embedBackward(tokens('t'), inputGradient)
  for (const stage of [body, ends]) {
    results.push(Float32Array.of(await stage.gradientNorm()))
    await stage.update({ gradientScale: 1, learningRate: 1e-3 })
    results.push(stage.weights.slice())
    await stage.close()
  }
  return [...results, embedded, inputGradient, Float32Array.of(loss)]
}

describe.each(PROVIDER_NAMES)('%s', (provider) => {
  it('has the results of the CPU under every policy, if available', async () => {
    if (!(await works(provider))) return
    for (const policy of POLICIES) {
      const [expected, actual] = [await step('cpu', policy), await step(provider, policy)]
      for (const [i, each] of actual.entries()) {
        expect(each).toBeAllclose(expected[i]!, { relative: 1e-3 })
      }
    }
  })
})
