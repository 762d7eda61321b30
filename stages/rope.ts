/** Frequencies of rotary embedding (Su et al. 2021, section 3.2), and their scaling for long contexts. */
import { headSizeOf, type ModelConfig } from './model.ts'

/** Scaling, with the terms of Hugging Face's rope_scaling. Each type reads the numbers that it needs. */
export interface RopeScaling {
  readonly type: RopeType
  /** Ratio of the context to the original context. */
  readonly factor: number
  /** Waves with fewer periods than this in the original context are stretched by `factor`. */
  readonly lowFrequencyFactor: number
  /** Waves with more periods than this stay. Waves between the two factors are interpolated. */
  readonly highFrequencyFactor: number
  /** Original context, in tokens. */
  readonly originalContext: number
}

type Scale = (frequency: number, scaling: RopeScaling) => number

const SCALES = {
  none: (frequency) => frequency,
  /** Position interpolation (Chen et al. 2023): stretches every wave. */
  linear: (frequency, { factor }) => frequency / factor,
  /** Llama 3.1: stretches only long waves. */
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
