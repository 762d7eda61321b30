/** The numbers of a stage that is cut anew from others: exact if it is one of them, else the nearest there is. */
import type { OptimizerConfig } from '../../stages/model.ts'
import type { StageFields } from './manifest.ts'

/** So many weights come from a saved stage. */
export interface Source {
  readonly fields: StageFields
  readonly elements: number
}

/**
 * - Updates: the fewest of all that made any, since a rebuilt stage has begun anew and too many would have it take too large
 *   a step; the moments of the others are scaled to it by {@link momentScales}.
 * - Learning rate scale: the mean over the weights.
 * - Gradient norm: each stage's square in proportion to the weights taken from it; null if any is.
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
 * What moments of `from` updates are multiplied by to be moments of `to` updates, such that the bias-corrected ones stay
 * what they were. What the next updates add to them weighs as it does after `to` updates, so this is no exact change.
 */
export function momentScales(
  { kind, beta1, beta2 }: Pick<OptimizerConfig, 'kind' | 'beta1' | 'beta2'>,
  from: number,
  to: number,
): { readonly firstMoment: number; readonly secondMoment: number } {
  // Only AdamW corrects for the moments' beginning at zero.
  if (kind === 'sgd' || from === to || from === 0) return { firstMoment: 1, secondMoment: 1 }
  const scale = (beta: number) => (1 - beta ** to) / (1 - beta ** from)
  return { firstMoment: scale(beta1), secondMoment: scale(beta2) }
}

/** What all are; if they differ, what `otherwise` says. */
function equalOr(values: readonly number[], otherwise: () => number): number {
  return values.every((value) => value === values[0]) ? values[0]! : otherwise()
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0)
}
