/** Drawing tokens from logits. */
import type { Random } from '../../stages/random.ts'

/** Options for drawing tokens. */
export interface Sampling {
  /** Divisor of the logits; 0 always takes the most likely token. */
  readonly temperature: number
  /** Number of the most likely tokens to draw from; 0 for all tokens. */
  readonly topK: number
  /** Share of the probability: the draw takes the most likely tokens that reach it together; 1 for all tokens. */
  readonly topP: number
}

/** Draws a token id from logits [vocabulary]. */
export function sample(logits: Float32Array, sampling: Sampling, random: Random): number {
  const { temperature, topK, topP } = sampling
  if (temperature === 0) return mostLikely(logits)
  // The sort is stable, so that the lower id of two equal logits comes first.
  const order = [...logits.keys()].sort((a, b) => logits[b]! - logits[a]!)
  const kept = topK > 0 ? order.slice(0, topK) : order
  const most = logits[kept[0]!]!
  const weights = kept.map((token) => Math.exp((logits[token]! - most) / temperature))
  const nucleus = topP < 1 ? nucleusOf(weights, topP) : weights
  let rest = random.float() * sum(nucleus)
  const drawn = nucleus.findIndex((weight) => {
    rest -= weight
    return rest < 0
  })
  // Through rounding, a small rest can remain after the last weight.
  return kept[drawn < 0 ? nucleus.length - 1 : drawn]!
}

function mostLikely(logits: Float32Array): number {
  let best = 0
  for (let token = 1; token < logits.length; token++) {
    if (logits[token]! > logits[best]!) best = token
  }
  return best
}

/** The shortest prefix of the weights, of at least one, whose sum reaches the share of all. */
function nucleusOf(weights: readonly number[], share: number): number[] {
  const enough = share * sum(weights)
  let total = 0
  const end = weights.findIndex((weight) => {
    total += weight
    return total >= enough
  })
  return weights.slice(0, end < 0 ? weights.length : end + 1)
}

function sum(weights: readonly number[]): number {
  return weights.reduce((total, weight) => total + weight, 0)
}
