/** Gradient clipping by norm (Pascanu et al. 2013): by the norm of a stage, or by the norm of the whole model. */

/** Scopes of clipping: the norm of each stage, or of the whole model. */
export const CLIPS = ['stage', 'whole'] as const

/** PyTorch's epsilon, which prevents a division by zero. */
const EPSILON = 1e-6

/** Factor for gradients that brings their norm down to `limit`; 1 for a smaller norm. */
export function clipFactor(norm: number, limit: number): number {
  return Math.min(1, limit / (norm + EPSILON))
}

/** L2 norm of a gradient from the norms of its parts, one for each stage. */
export function wholeNorm(norms: readonly number[]): number {
  return Math.hypot(...norms)
}
