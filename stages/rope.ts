/** By how much rotary embedding turns each pair of features from one token to the next, and how long contexts change it. */
import { headSizeOf, type ModelConfig } from './model.ts'

/** In the words of Hugging Face's rope_scaling. A type reads the numbers that it needs. */
export interface RopeScaling {
  readonly type: RopeType
  /** By which the context is longer than the one that the frequencies were meant for. */
  readonly factor: number
  /** Waves that fit into the original context fewer times than this are stretched by `factor`... */
  readonly lowFrequencyFactor: number
  /** ...those that fit more often than this stay, and those between take a share of both. */
  readonly highFrequencyFactor: number
  /** In tokens. */
  readonly originalContext: number
}

type Scale = (frequency: number, scaling: RopeScaling) => number

const SCALES = {
  none: (frequency) => frequency,
  /** Position interpolation: every wave is stretched. */
  linear: (frequency, { factor }) => frequency / factor,
  /** Llama 3.1: only the long waves are. */
  llama3: (frequency, scaling) => {
    const { factor, lowFrequencyFactor: low, highFrequencyFactor: high } = scaling
    const turns = (scaling.originalContext * frequency) / (2 * Math.PI)
    const kept = Math.min(1, Math.max(0, (turns - low) / (high - low)))
    return kept * frequency + ((1 - kept) * frequency) / factor
  },
} satisfies Readonly<Record<string, Scale>>

export type RopeType = keyof typeof SCALES

export const ROPE_TYPES = Object.keys(SCALES) as RopeType[]

export const NO_SCALING: RopeScaling = {
  type: 'none',
  factor: 1,
  lowFrequencyFactor: 1,
  highFrequencyFactor: 4,
  originalContext: 8192,
}

/** Radians a token for each pair of features: [head size / 2]. */
export function frequencies(model: ModelConfig): number[] {
  const { ropeTheta, ropeScaling = NO_SCALING } = model
  const half = headSizeOf(model) / 2
  const scale: Scale = SCALES[ropeScaling.type]
  return Array.from({ length: half }, (_, i) => scale(ropeTheta ** (-i / half), ropeScaling))
}
