/** Draws a token from logits. */
import type { Random } from '../../stages/random.ts'

export interface Sampling {
  /** Divides the logits: 0 takes the most likely token always. */
  readonly temperature: number
  /** Only so many of the most likely tokens; 0 for all. */
  readonly topK: number
  /** Of those, the most likely that make up this share of the probability together; 1 for all. */
  readonly topP: number
}

export function sample(logits: Float32Array, sampling: Sampling, random: Random): number {
  const { temperature, topK, topP } = sampling
  if (temperature === 0) return mostLikely(logits)
  // Of equal logits the lower number first: sorting keeps their order.
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
  // Rounding may leave a little of the rest after the last.
  return kept[drawn < 0 ? nucleus.length - 1 : drawn]!
}

function mostLikely(logits: Float32Array): number {
  let best = 0
  for (let token = 1; token < logits.length; token++) {
    if (logits[token]! > logits[best]!) best = token
  }
  return best
}

/** The first weights, at least one, that reach this share of all. */
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
