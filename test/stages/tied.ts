/**
 * Tied embeddings on stages that keep embedding and head apart: the two start equal, and a step of AdamW in float64 on
 * the sum of their gradients keeps them so. The other two golden cases try the optimizer itself.
 */
import { parameterView } from '../../stages/parameters.ts'
import { type Golden, type Llama, updateForGradients } from './golden.ts'

/** Adds up the gradients of embedding and head, and gives both the sum. */
export function tie(gradients: Map<string, Float32Array>): void {
  const head = gradients.get('lm_head.weight')!
  const sum = gradients.get('model.embed_tokens.weight')!.map((g, i) => g + head[i]!)
  for (const name of ['model.embed_tokens.weight', 'lm_head.weight']) gradients.set(name, sum)
}

export class TiedOptimizer {
  readonly #golden: Golden
  readonly #weights: Float64Array
  readonly #first: Float64Array
  readonly #second: Float64Array
  #updates = 0

  constructor(golden: Golden, { ends }: Llama) {
    this.#golden = golden
    this.#weights = Float64Array.from(ends.weights)
    this.#first = new Float64Array(ends.weights.length)
    this.#second = new Float64Array(ends.weights.length)
  }

  /** Updates all stages, the ends by what is computed here. */
  async update(llama: Llama): Promise<void> {
    const gradients = await updateForGradients(llama, this.#golden)
    tie(gradients)
    const flat = new Float32Array(this.#weights.length)
    for (const parameter of llama.ends.parameters) {
      parameterView(flat, parameter).set(gradients.get(parameter.name)!)
    }
    this.#step(flat)
    await llama.ends.load(Float32Array.from(this.#weights))
  }

  #step(gradients: Float32Array): void {
    const { learningRate } = this.#golden
    const { beta1, beta2, epsilon, weightDecay } = this.#golden.config.optimizer
    this.#updates++
    gradients.forEach((g, i) => {
      const m = beta1 * this.#first[i]! + (1 - beta1) * g
      const v = beta2 * this.#second[i]! + (1 - beta2) * g * g
      this.#first[i] = m
      this.#second[i] = v
      const denominator = Math.sqrt(v / (1 - beta2 ** this.#updates)) + epsilon
      const step = (learningRate * m) / (1 - beta1 ** this.#updates) / denominator
      this.#weights[i] = this.#weights[i]! * (1 - learningRate * weightDecay) - step
    })
  }
}
