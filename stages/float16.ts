/** Conversion between float32 and IEEE half precision, by their bits. */

/** Bits of the half that is nearest to a float32. @param bits of the float32 */
export function halfOf(bits: number): number {
  const sign = (bits >>> 16) & 0x8000
  const magnitude = bits & 0x7fffffff
  // NaN keeps a bit of its fraction. A magnitude beyond the range becomes infinity.
  if (magnitude > 0x7f800000) return sign | 0x7e00
  if (magnitude >= 0x477ff000) return sign | 0x7c00
  if (magnitude < 0x38800000) {
    // A subnormal half counts units of 2^-24. The addition of `scratch` rounds to nearest even.
    scratchBits[0] = magnitude
    scratch[0] = scratch[0]! + 0.5
    return sign | (scratchBits[0]! - 0x3f000000)
  }
  // Rounds to nearest even. A carry into the exponent gives the right value.
  return sign | ((magnitude + 0xfff + ((magnitude >>> 13) & 1) - 0x38000000) >>> 13)
}

const scratch = new Float32Array(1)
const scratchBits = new Uint32Array(scratch.buffer)

/** Float32 bits of each of the 65,536 halves, by the bits of the half. */
export const FLOAT_OF_HALF = floatOfEachHalf()

/** Works on bits, since every process and every thread fills the table when it starts. */
function floatOfEachHalf(): Uint32Array<ArrayBuffer> {
  const floats = new Uint32Array(1 << 16)
  for (let half = 0; half < floats.length; half++) {
    const exponent = (half >>> 10) & 0x1f
    const fraction = half & 0x3ff
    let magnitude = ((exponent + 112) << 23) | (fraction << 13)
    if (exponent === 31) magnitude = fraction === 0 ? 0x7f800000 : 0x7fc00000
    if (exponent === 0) {
      // A subnormal half counts units of 2^-24.
      scratch[0] = fraction * 2 ** -24
      magnitude = scratchBits[0]!
    }
    floats[half] = ((half & 0x8000) << 16) | magnitude
  }
  return floats
}
