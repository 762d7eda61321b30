/** Simple float64 implementation of a Llama, from Hugging Face's names alone. It shares no code with stages/. */

export interface ReferenceConfig {
  readonly hiddenSize: number
  readonly layers: number
  readonly heads: number
  readonly keyValueHeads: number
  readonly headSize: number
  readonly ropeTheta: number
  readonly rmsNormEps: number
  readonly tied: boolean
}

type Row = readonly number[]

/**
 * Logits of each position. The function is long so that the whole model can be read in one place, line by line with its
 * definition.
 * @param weight a tensor, row-major, by its name
 */
export function referenceLogits(
  config: ReferenceConfig,
  weight: (name: string) => ArrayLike<number>,
  tokens: ArrayLike<number>,
): number[][] {
  const { hiddenSize, layers, heads, keyValueHeads, headSize, ropeTheta, rmsNormEps } = config
  const table = weight('model.embed_tokens.weight')
  const row = (matrix: ArrayLike<number>, i: number, width: number) =>
    Array.from({ length: width }, (_, j) => matrix[i * width + j]!)
  const multiply = (name: string, x: Row): number[] => {
    const matrix = weight(name)
    return Array.from({ length: matrix.length / x.length }, (_, i) =>
      x.reduce((sum, element, j) => sum + matrix[i * x.length + j]! * element, 0),
    )
  }
  const norm = (name: string, x: Row): number[] => {
    const scale = weight(name)
    const mean = x.reduce((sum, element) => sum + element * element, 0) / x.length
    return x.map((element, j) => (element / Math.sqrt(mean + rmsNormEps)) * scale[j]!)
  }
  /** rotate_half of Hugging Face: rotates features j and j + d/2 together. */
  const rotate = (x: Row, position: number): number[] =>
    x.map((element, j) => {
      const half = headSize / 2
      const angle = position * ropeTheta ** (-(2 * (j % half)) / headSize)
      const partner = j < half ? -x[j + half]! : x[j - half]!
      return element * Math.cos(angle) + partner * Math.sin(angle)
    })
  const cut = (x: Row, head: number) => x.slice(head * headSize, (head + 1) * headSize)
  const add = (a: Row, b: Row) => a.map((element, j) => element + b[j]!)

  let states = Array.from(tokens, (token) => row(table, token, hiddenSize))
  for (let layer = 0; layer < layers; layer++) {
    const name = (own: string) => `model.layers.${layer}.${own}.weight`
    const normed = states.map((x) => norm(name('input_layernorm'), x))
    const queries = normed.map((x) => multiply(name('self_attn.q_proj'), x))
    const keys = normed.map((x) => multiply(name('self_attn.k_proj'), x))
    const values = normed.map((x) => multiply(name('self_attn.v_proj'), x))
    states = states.map((x, position) => {
      const mixed = Array.from({ length: heads }, (_, head) => {
        const shared = Math.floor(head / (heads / keyValueHeads))
        const query = rotate(cut(queries[position]!, head), position)
        const scores = keys.slice(0, position + 1).map((key, at) => {
          const turned = rotate(cut(key, shared), at)
          return query.reduce((sum, q, j) => sum + q * turned[j]!, 0) / Math.sqrt(headSize)
        })
        const most = Math.max(...scores)
        const shares = scores.map((score) => Math.exp(score - most))
        const total = shares.reduce((sum, share) => sum + share, 0)
        return Array.from(
          { length: headSize },
          (_, j) =>
            shares.reduce((sum, share, at) => sum + share * cut(values[at]!, shared)[j]!, 0) /
            total,
        )
      })
      const attended = add(x, multiply(name('self_attn.o_proj'), mixed.flat()))
      const inner = norm(name('post_attention_layernorm'), attended)
      const gate = multiply(name('mlp.gate_proj'), inner)
      const up = multiply(name('mlp.up_proj'), inner)
      const gated = gate.map((g, j) => (g / (1 + Math.exp(-g))) * up[j]!)
      return add(attended, multiply(name('mlp.down_proj'), gated))
    })
  }
  const top = config.tied ? 'model.embed_tokens.weight' : 'lm_head.weight'
  return states.map((x) => multiply(top, norm('model.norm.weight', x)))
}

/** Mean cross-entropy of the targets, in nats. */
export function referenceLoss(logits: readonly Row[], targets: ArrayLike<number>): number {
  const losses = logits.map((row, i) => {
    const most = Math.max(...row)
    const total = row.reduce((sum, logit) => sum + Math.exp(logit - most), 0)
    return most + Math.log(total) - row[targets[i]!]!
  })
  return losses.reduce((sum, loss) => sum + loss, 0) / losses.length
}
