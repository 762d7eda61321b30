/** The last check at the border: nothing that is not a number comes in. */

/** True if no element is NaN or infinite: x * 0 is 0 for every finite x and NaN for all others. */
export function allFinite(tensor: Float32Array): boolean {
  let sum = 0
  for (let i = 0; i < tensor.length; i++) sum += tensor[i]! * 0
  return sum === 0
}
