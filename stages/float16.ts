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
export const FLOAT_OF_HALF = Uint32Array.from({ length: 1 << 16 }, (_, half) => {
  const [sign, exponent, fraction] = [half >>> 15, (half >>> 10) & 0x1f, half & 0x3ff]
  const magnitude =
    exponent === 0
      ? fraction * 2 ** -24
      : exponent === 31
        ? fraction === 0
          ? Number.POSITIVE_INFINITY
          : Number.NaN
        : (1 + fraction / 1024) * 2 ** (exponent - 15)
  scratch[0] = sign === 1 ? -magnitude : magnitude
  return scratchBits[0]!
})
