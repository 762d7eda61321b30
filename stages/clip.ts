/** Gradient clipping by norm: of a stage by its own, or of all stages by that of the whole model. */

/** Whose norm is bounded. */
export const CLIPS = ['stage', 'whole'] as const

/** As PyTorch has it, so that a norm of zero divides nothing. */
const EPSILON = 1e-6

/** What gradients are multiplied with so that a norm becomes at most `limit`. */
export function clipFactor(norm: number, limit: number): number {
  return Math.min(1, limit / (norm + EPSILON))
}

/** The norm of a gradient from those of its parts, one a stage. */
export function wholeNorm(norms: readonly number[]): number {
  return Math.hypot(...norms)
}
