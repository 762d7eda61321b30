/** The check for NaN and infinity in tensors that come from other peers or from a stage. */

/**
 * Tells whether every element of `tensor` is finite. The sum uses that x * 0 is 0 for a finite x and NaN for NaN and
 * infinity.
 */
export function allFinite(tensor: Float32Array): boolean {
  let sum = 0
  for (let i = 0; i < tensor.length; i++) sum += tensor[i]! * 0
  return sum === 0
}
