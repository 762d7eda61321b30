/** IEEE half precision by its bits: on the wire and in files. */

/** The bits of the nearest half to a float32 given by its bits. */
export function halfOf(bits: number): number {
  const sign = (bits >>> 16) & 0x8000
  const magnitude = bits & 0x7fffffff
  // NaN keeps a bit of its fraction; what is too large, infinity included, becomes infinity.
  if (magnitude > 0x7f800000) return sign | 0x7e00
  if (magnitude >= 0x477ff000) return sign | 0x7c00
  if (magnitude < 0x38800000) {
    // Subnormal as a half: count in units of 2^-24. `scratch` does the rounding to nearest even in its own addition.
    scratchBits[0] = magnitude
    scratch[0] = scratch[0]! + 0.5
    return sign | (scratchBits[0]! - 0x3f000000)
  }
  // Rounds to nearest even, and may carry into the exponent, which is what it should do.
  return sign | ((magnitude + 0xfff + ((magnitude >>> 13) & 1) - 0x38000000) >>> 13)
}

const scratch = new Float32Array(1)
const scratchBits = new Uint32Array(scratch.buffer)

/** The float32 bits of each of the 65,536 halves. */
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
