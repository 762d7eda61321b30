/** The exported graph in ONNX Runtime, of any batch and length, against float64 and against the graphs that train. */
import { InferenceSession, Tensor } from 'onnxruntime-node'
import { expect, onTestFinished, test } from 'vitest'
import { Decoder } from '../../../stages/decoder.ts'
import { planOnnx } from '../../../stages/formats/onnx-llama.ts'
import type { Piece } from '../../../stages/formats/piece.ts'
import type { ModelConfig } from '../../../stages/model.ts'
import { createLocalStage } from '../../../stages/onnx-stage.ts'
import { modelTensors, parameterView } from '../../../stages/parameters.ts'
import { join } from '../../../stages/protobuf.ts'
import { Random } from '../../../stages/random.ts'
import { NO_SCALING } from '../../../stages/rope.ts'
import type { AnyStage } from '../../../stages/stage.ts'
import {
  GROUPED,
  PLAIN,
  type SmallModel,
  smallModel,
  someTokens,
} from '../../fixtures/small-model.ts'

const ABSOLUTE = 1e-4

function bytesOf(pieces: readonly Piece[], { weight }: SmallModel): Uint8Array {
  return join(
    pieces.map((piece) =>
      piece instanceof Uint8Array ? piece : piece.encode(weight(piece.tensor)),
    ),
  )
}

async function session(small: SmallModel, inlineBytesMax?: number): Promise<InferenceSession> {
  const [graph, data] = planOnnx(small.model, modelTensors(small.model), inlineBytesMax)
  const external =
    data === undefined ? [] : [{ path: data.name, data: bytesOf(data.pieces, small) }]
  const created = await InferenceSession.create(bytesOf(graph!.pieces, small), {
    externalData: external,
    logSeverityLevel: 4,
  })
  onTestFinished(() => created.release())
  return created
}

async function run(created: InferenceSession, tokens: Int32Array, batch: number) {
  const ids = BigInt64Array.from(tokens, BigInt)
  const shape = [batch, tokens.length / batch]
  const { logits } = await created.run({ input_ids: new Tensor('int64', ids, shape) })
  expect(logits!.dims).toEqual([...shape, 256])
  return logits!.data as Float32Array
}

function worst(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  expect(actual.length).toBe(expected.length)
  return Math.max(...Array.from(actual, (value, i) => Math.abs(value - expected[i]!)))
}

test.each([
  ['multi-head', PLAIN],
  ['grouped, tied, wide heads', GROUPED],
])('%s: logits as in float64, for more than one sequence and length', async (_, config) => {
  const small = smallModel(config)
  const created = await session(small)
  const tokens = someTokens(33)
  const expected = small.logits(tokens).flat()
  expect(worst(await run(created, tokens, 1), expected)).toBeLessThan(ABSOLUTE)

  const [a, b] = [someTokens(7, 'a'), someTokens(7, 'b')]
  const both = await run(created, Int32Array.from([...a, ...b]), 2)
  const each = [...small.logits(a).flat(), ...small.logits(b).flat()]
  expect(worst(both, each)).toBeLessThan(ABSOLUTE)
})

const LONG = {
  ...PLAIN,
  ropeScaling: { ...NO_SCALING, type: 'llama3', factor: 8, originalContext: 64 },
} as const satisfies ModelConfig

test.each([
  ['multi-head', PLAIN],
  ['grouped, tied, wide heads', GROUPED],
  ['stretched for long contexts', LONG],
])('%s: logits as those of the graphs that train', async (_, config) => {
  const small = smallModel(config)
  const tokens = someTokens(64)
  const logits = await run(await session(small), tokens, 1)

  const stageConfig = {
    model: small.model,
    microbatch: { batch: 1, context: tokens.length },
    optimizer: { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0 },
    bodyStages: 1,
  }
  const options = { provider: 'cpu', threads: 1, random: new Random(1) } as const
  const ends = await createLocalStage(stageConfig, 0, options)
  const body = await createLocalStage(stageConfig, 1, options)
  const decoder = new Decoder(small.model, small.weight, options)
  onTestFinished(async () => {
    for (const each of [ends, body, decoder]) await each.close()
  })
  for (const stage of [ends, body] as AnyStage[]) {
    const flat = new Float32Array(stage.weights.length)
    for (const parameter of stage.parameters) {
      parameterView(flat, parameter).set(small.weight(parameter.name))
    }
    await stage.load(flat)
  }
  // The training graphs have no output for logits, so the head of the decoder computes them from the hidden states.
  const hidden = await body.forward(await ends.embed(tokens))
  const width = small.model.hiddenSize
  for (let position = 0; position < tokens.length; position++) {
    const row = hidden.subarray(position * width, (position + 1) * width)
    const expected = await decoder.logits(row)
    const own = logits.subarray(position * 256, (position + 1) * 256)
    expect(worst(own, expected)).toBeLessThan(ABSOLUTE)
  }
})

test('weights in a separate file give the same logits, and the graph is small', async () => {
  const small = smallModel(GROUPED)
  const tokens = someTokens(9)
  const inline = await run(await session(small), tokens, 1)
  expect(await run(await session(small, 0), tokens, 1)).toEqual(inline)
  const [graph, data] = planOnnx(small.model, modelTensors(small.model), 0)
  expect(bytesOf(graph!.pieces, small).length).toBeLessThan(20_000)
  expect(data!.name).toBe('model.onnx_data')
})
