/** The numbers of a stage that is assembled from saved stages: exact if it is one of them, otherwise the closest. */
import type { OptimizerConfig } from '../../stages/model.ts'
import type { StageFields } from './manifest.ts'

/** A saved stage that weights come from. */
export interface Source {
  readonly fields: StageFields
  /** Number of weights that come from it. */
  readonly elements: number
}

/**
 * Combines the numbers of several saved stages:
 * - Updates: the fewest of the stages that made any. A rebuilt stage counts its updates from 0, and with a higher count its
 *   steps would be too large. {@link momentScales} scales the moments of the other stages.
 * - Learning rate scale: the mean, weighted by the number of weights.
 * - Gradient norm: the root of the sum of squares, each in proportion to the weights taken from its stage. Null if any is.
 */
export function combineFields(sources: readonly Source[]): StageFields {
  const elements = sum(sources, (source) => source.elements)
  const updates = sources.map(({ fields }) => fields.updates)
  const norms = sources.map(({ fields }) => fields.gradientNorm)
  return {
    elements,
    updates: Math.max(Math.min(...updates), Math.min(1, Math.max(...updates))),
    learningRateScale: equalOr(
      sources.map(({ fields }) => fields.learningRateScale),
      () => sum(sources, (source) => source.fields.learningRateScale * source.elements) / elements,
    ),
    gradientNorm: norms.includes(null)
      ? null
      : Math.sqrt(
          sum(
            sources,
            (source) =>
              source.fields.gradientNorm! ** 2 * (source.elements / source.fields.elements),
          ),
        ),
  }
}

/**
 * Factors that turn moments after `from` updates into moments after `to` updates, with the same bias-corrected values.
 * The change is not exact: the next updates weigh as they do after `to` updates.
 */
export function momentScales(
  { kind, beta1, beta2 }: Pick<OptimizerConfig, 'kind' | 'beta1' | 'beta2'>,
  from: number,
  to: number,
): { readonly firstMoment: number; readonly secondMoment: number } {
  // Only AdamW corrects for moments that begin at zero.
  if (kind === 'sgd' || from === to || from === 0) return { firstMoment: 1, secondMoment: 1 }
  const scale = (beta: number) => (1 - beta ** to) / (1 - beta ** from)
  return { firstMoment: scale(beta1), secondMoment: scale(beta2) }
}

/** The common value; if the values differ, that of `otherwise`. */
function equalOr(values: readonly number[], otherwise: () => number): number {
  return values.every((value) => value === values[0]) ? values[0]! : otherwise()
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0)
}
