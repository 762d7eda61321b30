/**
 * Seeded random generator with named streams, the only source of randomness of the project. A stream depends on the seed and
 * its name alone. A draw from one stream does not change another, and any peer can repeat any draw.
 */

/** 128 bits of state from a text: MurmurHash3-style mixing of each UTF-16 unit (Bryc's public-domain cyrb128). */
function hash128(text: string): [number, number, number, number] {
  let a = 1779033703
  let b = 3144134277
  let c = 1013904242
  let d = 2773480762
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    a = b ^ Math.imul(a ^ unit, 597399067)
    b = c ^ Math.imul(b ^ unit, 2869860233)
    c = d ^ Math.imul(c ^ unit, 951274213)
    d = a ^ Math.imul(d ^ unit, 2716044179)
  }
  a = Math.imul(c ^ (a >>> 18), 597399067)
  b = Math.imul(d ^ (b >>> 22), 2869860233)
  c = Math.imul(a ^ (c >>> 17), 951274213)
  d = Math.imul(b ^ (d >>> 19), 2716044179)
  return [a ^ b ^ c ^ d, b ^ a, c ^ a, d ^ a]
}

export class Random {
  /** Seed and names of this stream. `new Random(path)` repeats its draws, for example in another thread. */
  readonly path: string
  #a: number
  #b: number
  #c: number
  #d: number

  /** @param seed any text or number. Equal seeds give equal draws on every machine. */
  constructor(seed: string | number) {
    this.path = String(seed)
    ;[this.#a, this.#b, this.#c, this.#d] = hash128(this.path)
    for (let i = 0; i < 12; i++) this.uint32()
  }

  /** An independent generator. It depends on this generator's seed and on `name`, and not on earlier draws. */
  stream(name: string | number): Random {
    return new Random(`${this.path}/${name}`)
  }

  /** Uniform over 0 .. 2^32 - 1 (sfc32). */
  uint32(): number {
    const sum = (this.#a + this.#b + this.#d) | 0
    this.#d = (this.#d + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum
    return sum >>> 0
  }

  /** Uniform over [0, 1), 53 bits. */
  float(): number {
    return ((this.uint32() >>> 5) * 67108864 + (this.uint32() >>> 6)) / 9007199254740992
  }

  /** Uniform over 0 .. limit - 1. */
  integer(limit: number): number {
    return Math.floor(this.float() * limit)
  }

  /** Standard normal (Box-Muller). */
  gaussian(): number {
    return Math.sqrt(-2 * Math.log(1 - this.float())) * Math.cos(2 * Math.PI * this.float())
  }
}
