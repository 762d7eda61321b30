/** Incremental decoding has the results of whole sequences, and of float64. */
import { expect, onTestFinished, test } from 'vitest'
import { Decoder } from '../../stages/decoder.ts'
import { createLocalStage } from '../../stages/onnx-stage.ts'
import { parameterView } from '../../stages/parameters.ts'
import { Random } from '../../stages/random.ts'
import type { AnyStage } from '../../stages/stage.ts'
import { GROUPED, PLAIN, type SmallModel, smallModel, someTokens } from '../fixtures/small-model.ts'
import { referenceLoss } from './reference-llama.ts'

const COMPUTE = { provider: 'cpu', threads: 1 } as const
const RELATIVE = { relative: 1e-4 }

function decoderOf({ model, weight }: SmallModel): Decoder {
  const decoder = new Decoder(model, weight, COMPUTE)
  onTestFinished(() => decoder.close())
  return decoder
}

/** Logits of every position, with the tokens read in parts of these sizes. */
async function logitsBy(decoder: Decoder, tokens: Int32Array, sizes: readonly number[]) {
  const { hiddenSize } = decoder.model
  const past = decoder.begin()
  const logits: Float32Array[] = []
  let at = 0
  for (const size of sizes) {
    const rows = await decoder.read(past, tokens.subarray(at, at + size))
    for (let i = 0; i < size; i++) {
      logits.push(await decoder.logits(rows.subarray(i * hiddenSize, (i + 1) * hiddenSize)))
    }
    at += size
  }
  return logits
}

test.each([
  ['multi-head', PLAIN],
  ['grouped, tied, wide heads', GROUPED],
])('%s: each position as in float64, one by one and all at once', async (_, config) => {
  const small = smallModel(config)
  const decoder = decoderOf(small)
  const tokens = someTokens(24)
  const expected = small.logits(tokens)
  const single = await logitsBy(decoder, tokens, Array(24).fill(1))
  const whole = await logitsBy(decoder, tokens, [24])
  const mixed = await logitsBy(decoder, tokens, [17, 1, 1, 5])
  for (const [position, row] of expected.entries()) {
    for (const logits of [single, whole, mixed]) {
      expect(logits[position]!).toBeAllclose(row, RELATIVE)
    }
  }
})

test('the cache grows beyond its first capacity, and keeps its contents', async () => {
  const small = smallModel({
    ...PLAIN,
    hiddenSize: 8,
    intermediateSize: 8,
    layers: 1,
    heads: 2,
    keyValueHeads: 1,
  })
  const decoder = decoderOf(small)
  const tokens = someTokens(300)
  const expected = small.logits(tokens)
  const logits = await logitsBy(decoder, tokens, [120, 10, 1, 130, 1, 1, 37])
  for (const [position, row] of expected.entries()) {
    expect(logits[position]!).toBeAllclose(row, RELATIVE)
  }
})

test('the same tokens give the same bits', async () => {
  const small = smallModel(GROUPED)
  const tokens = someTokens(40)
  const first = await logitsBy(decoderOf(small), tokens, [20, 1, 1, 18])
  const second = await logitsBy(decoderOf(small), tokens, [20, 1, 1, 18])
  expect(second).toEqual(first)
})

test('scores are those of float64, and of the training graphs', async () => {
  const small = smallModel(GROUPED)
  const decoder = decoderOf(small)
  const tokens = someTokens(161)
  const [input, targets] = [tokens.subarray(0, -1), tokens.subarray(1)]
  const scores = await decoder.scores(await decoder.read(decoder.begin(), input), targets)
  const loss = -scores.reduce((sum, score) => sum + score, 0) / targets.length
  const expected = referenceLoss(small.logits(input), targets)
  expect([loss]).toBeAllclose([expected], RELATIVE)

  const config = {
    model: small.model,
    microbatch: { batch: 1, context: input.length },
    optimizer: { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0 },
    bodyStages: 1,
  }
  const options = { ...COMPUTE, random: new Random(1) }
  const ends = await createLocalStage(config, 0, options)
  const body = await createLocalStage(config, 1, options)
  onTestFinished(async () => {
    await ends.close()
    await body.close()
  })
  for (const stage of [ends, body] as AnyStage[]) {
    const flat = new Float32Array(stage.weights.length)
    for (const parameter of stage.parameters) {
      parameterView(flat, parameter).set(small.weight(parameter.name))
    }
    await stage.load(flat)
  }
  const trained = await ends.loss(await body.forward(await ends.embed(input)), targets)
  expect([loss]).toBeAllclose([trained], { relative: 1e-5 })
})

test('a token outside of the vocabulary is refused', async () => {
  const decoder = decoderOf(smallModel(PLAIN))
  await expect(decoder.read(decoder.begin(), Int32Array.of(256))).rejects.toThrow('token 256')
})
