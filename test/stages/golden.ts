/** Llamas trained by PyTorch in float64, and stages with the same weights. */
import { readFileSync } from 'node:fs'
import { LIMITS, type Limits } from '../../stages/chunks.ts'
import type { StageConfig } from '../../stages/model.ts'
import { createLocalStage } from '../../stages/onnx-stage.ts'
import { parameterView } from '../../stages/parameters.ts'
import { Random } from '../../stages/random.ts'
import { readSafetensors } from '../../stages/safetensors.ts'
import type { AnyStage, BodyStage, EndsStage } from '../../stages/stage.ts'

type Numbers = ArrayLike<number>

export interface Golden {
  readonly config: StageConfig
  readonly learningRate: number
  /** Layers in the order of their use, from 0. */
  readonly order: readonly number[]
  readonly tokens: Int32Array
  readonly targets: Int32Array
  /** A tensor by its name in the file. */
  readonly tensor: (name: string) => Numbers
}

export function readGolden(name: string, bodyStages?: number): Golden {
  const file = new URL(`../golden/${name}.safetensors`, import.meta.url)
  const { tensors, metadata } = readSafetensors(readFileSync(file))
  const number = (key: string) => Number(metadata[key])
  const adamw = /lr=(\S+) betas=\((\S+), (\S+)\) eps=(\S+) weight_decay=(\S+)/.exec(
    metadata.adamw!,
  )!
  const [learningRate, beta1, beta2, epsilon, weightDecay] = adamw.slice(1).map(Number) as [
    number,
    number,
    number,
    number,
    number,
  ]
  const layers = number('num_hidden_layers')
  const integers = (key: string) =>
    Int32Array.from(tensors.get(key)!.data as BigInt64Array, (token) => Number(token))
  return {
    config: {
      model: {
        vocabSize: number('vocab_size'),
        hiddenSize: number('hidden_size'),
        intermediateSize: number('intermediate_size'),
        layers,
        heads: number('num_attention_heads'),
        keyValueHeads: number('num_key_value_heads'),
        ropeTheta: number('rope_theta'),
        rmsNormEps: number('rms_norm_eps'),
        tiedEmbeddings: metadata.tie_word_embeddings === 'True',
      },
      microbatch: { batch: number('batch'), context: number('seq') },
      optimizer: { beta1, beta2, epsilon, weightDecay },
      bodyStages: bodyStages ?? layers,
    },
    learningRate,
    order: JSON.parse(metadata.layer_order!),
    tokens: integers('tokens'),
    targets: integers('targets'),
    tensor: (key) => tensors.get(key)!.data as Numbers,
  }
}

export interface Llama {
  readonly ends: EndsStage
  readonly body: readonly BodyStage[]
  readonly all: readonly AnyStage[]
}

export async function createLlama(golden: Golden, limits: Limits = LIMITS): Promise<Llama> {
  const random = new Random('golden')
  const options = { provider: 'cpu', threads: 1, random, limits } as const
  const ends = await createLocalStage(golden.config, 0, options)
  const body: BodyStage[] = []
  for (let stage = 1; stage <= golden.config.bodyStages; stage++) {
    body.push((await createLocalStage(golden.config, stage, options)) as BodyStage)
  }
  const all = [ends, ...body]
  for (const stage of all) {
    const weights = new Float32Array(stage.weights.length)
    for (const parameter of stage.parameters) {
      parameterView(weights, parameter).set(golden.tensor(`weight/${parameter.name}`))
    }
    await stage.load(weights)
  }
  return { ends, body, all }
}

export async function closeLlama({ all }: Llama): Promise<void> {
  for (const stage of all) await stage.close()
}

/**
 * Forward and backward through the stages in the golden order; adds to their gradient sums.
 * @param travel applied to each activation or gradient between two stages
 */
export async function runMicrobatch(
  { ends, body }: Llama,
  golden: Golden,
  travel = (tensor: Float32Array): Float32Array => tensor,
) {
  const each = golden.config.model.layers / golden.config.bodyStages
  const visited = golden.order.filter((_, i) => i % each === 0).map((layer) => body[layer / each]!)
  const hidden = [travel(await ends.embed(golden.tokens))]
  for (const stage of visited) hidden.push(travel(await stage.forward(hidden.at(-1)!)))
  const { loss, inputGradient } = await ends.lossAndGradient(hidden.at(-1)!, golden.targets)
  let gradient = travel(inputGradient)
  for (const [i, stage] of [...visited.entries()].toReversed()) {
    gradient = travel(await stage.backward(hidden[i]!, gradient))
  }
  await ends.embedBackward(golden.tokens, gradient)
  return { loss, hidden, lossWithoutGradient: await ends.loss(hidden.at(-1)!, golden.targets) }
}

/** Updates every stage, and computes the gradients g from the first moments: m becomes beta1 m + (1 - beta1) g. */
export async function updateForGradients(
  { all }: Llama,
  { config, learningRate }: Golden,
): Promise<Map<string, Float32Array>> {
  const gradients = new Map<string, Float32Array>()
  const { beta1 } = config.optimizer
  for (const stage of all) {
    const { firstMoment: before } = await stage.optimizerState()
    await stage.update({ gradientScale: 1, learningRate })
    const { firstMoment: after } = await stage.optimizerState()
    const flat = after.map((m, i) => (m - beta1 * before[i]!) / (1 - beta1))
    for (const parameter of stage.parameters) {
      gradients.set(parameter.name, parameterView(flat, parameter).slice())
    }
  }
  return gradients
}

export function weightsOf({ all }: Llama): Map<string, Float32Array> {
  return new Map(
    all.flatMap((stage) =>
      stage.parameters.map((parameter) => [
        parameter.name,
        parameterView(stage.weights, parameter),
      ]),
    ),
  )
}
