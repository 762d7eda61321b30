/**
 * Reed-Solomon erasure code over bytes: any k of k data shards and m parity shards restore the data. The code is
 * systematic, with a Cauchy matrix over GF(2^8) (Blömer et al., ICSI TR-95-048, 1995). Parity shard i is the sum over j
 * of t_j / (u_i + t_j) times data shard j. Here t_j = x^j, and u = 0, infinity, x^k, x^(k+1) and so on.
 *
 * The first two parity shards are cheap. They are those of RAID-6 (Anvin, The mathematics of RAID-6): the XOR of the data
 * shards, and the sum of x^j times shard j. Every square submatrix of a Cauchy matrix is invertible. A scaled row of
 * infinity and scaled columns keep that property.
 *
 * A byte of a shard depends only on the bytes at the same place in the other shards. Hence shards can be coded piece by
 * piece: pass the same `subarray` of each.
 */

/** Upper bound of data and parity shards together: each takes an element of the field. */
export const MAX_SHARDS = 256

/** x^8 + x^4 + x^3 + x^2 + 1, of which x is a generator. */
const POLYNOMIAL = 0x11d
const FIELD = 256
const UNITS = FIELD - 1

/** `POWERS[i]` is x^i. The powers are listed twice, so that the sum of two logarithms needs no remainder. */
const POWERS = new Uint8Array(2 * UNITS)
const LOGARITHMS = new Uint8Array(FIELD)
for (let i = 0, power = 1; i < UNITS; i++) {
  POWERS[i] = power
  POWERS[i + UNITS] = power
  LOGARITHMS[power] = i
  power <<= 1
  if (power >= FIELD) power ^= POLYNOMIAL
}

function product(a: number, b: number): number {
  return a === 0 || b === 0 ? 0 : POWERS[LOGARITHMS[a]! + LOGARITHMS[b]!]!
}

/** @param b must not be zero */
function quotient(a: number, b: number): number {
  return a === 0 ? 0 : POWERS[LOGARITHMS[a]! + UNITS - LOGARITHMS[b]!]!
}

/** The factor of data shard `column`, of k, in parity shard `row`. */
function coefficient(row: number, column: number, k: number): number {
  if (row === 0) return 1
  const place = POWERS[column]!
  return row === 1 ? place : quotient(place, POWERS[k + row - 2]! ^ place)
}

/** The shard as 32-bit words, without its last `length % 4` bytes. It must be aligned to 4 bytes. */
function wordsOf({ buffer, byteOffset, length }: Uint8Array): Int32Array {
  return new Int32Array(buffer, byteOffset, length >> 2)
}

function add(target: Uint8Array, source: Uint8Array): void {
  const [into, from] = [wordsOf(target), wordsOf(source)]
  for (let i = 0; i < into.length; i++) into[i]! ^= from[i]!
  for (let i = into.length << 2; i < target.length; i++) target[i]! ^= source[i]!
}

/**
 * Sets `target` to `target` times x plus `source`, one step of Horner's rule. Each byte of a word is shifted by one bit.
 * A byte that overflows is reduced by the polynomial.
 */
function timesXPlus(target: Uint8Array, source: Uint8Array): void {
  const [into, from] = [wordsOf(target), wordsOf(source)]
  for (let i = 0; i < into.length; i++) {
    const word = into[i]!
    const overflown = (word >>> 7) & 0x01010101
    into[i] = ((word & 0x7f7f7f7f) << 1) ^ Math.imul(overflown, POLYNOMIAL & 0xff) ^ from[i]!
  }
  for (let i = into.length << 2; i < target.length; i++) {
    target[i] = product(2, target[i]!) ^ source[i]!
  }
}

/**
 * Adds `factor` times `source` to `target`, four bytes at a time. Each byte is looked up in the 256 products of the
 * factor. Looking up two bytes at once is a third faster, but needs a table of 128 KiB for each factor.
 */
function addProduct(target: Uint8Array, source: Uint8Array, factor: number): void {
  if (factor === 0) return
  if (factor === 1) {
    add(target, source)
    return
  }
  const [into, from] = [wordsOf(target), wordsOf(source)]
  const products = Uint8Array.from({ length: FIELD }, (_, byte) => product(factor, byte))
  for (let i = 0; i < into.length; i++) {
    const word = from[i]!
    into[i]! ^=
      products[word & 0xff]! |
      (products[(word >>> 8) & 0xff]! << 8) |
      (products[(word >>> 16) & 0xff]! << 16) |
      (products[word >>> 24]! << 24)
  }
  for (let i = into.length << 2; i < target.length; i++) target[i]! ^= products[source[i]!]!
}

/** Parity shard `row` of data shards that are aligned to 4 bytes. */
function parityOf(row: number, data: readonly Uint8Array[]): Uint8Array {
  const parity = new Uint8Array(data[0]!.length)
  // Horner's rule goes from the last column to the first.
  for (let column = data.length - 1; column >= 0; column--) {
    if (row === 1) timesXPlus(parity, data[column]!)
    else addProduct(parity, data[column]!, coefficient(row, column, data.length))
  }
  return parity
}

/** The shard, or a copy of it if it is not aligned to 4 bytes. */
function aligned(shard: Uint8Array): Uint8Array {
  return shard.byteOffset % 4 === 0 ? shard : shard.slice()
}

/**
 * Makes m parity shards.
 * @param shards the k data shards, all of the same length in bytes
 * @param m number of parity shards
 * @returns the m parity shards, in new memory
 * @throws RangeError if k or m is below 1, there are more than {@link MAX_SHARDS} shards, or lengths differ
 */
export function encodeParity(shards: readonly Uint8Array[], m: number): Uint8Array[] {
  const k = shards.length
  checkCounts(k, m)
  checkLengths(shards)
  const data = shards.map(aligned)
  return Array.from({ length: m }, (_, row) => parityOf(row, data))
}

/**
 * Restores lost data shards. The caller checks that each shard is whole and in its place: a wrong byte is not noticed.
 * @param shards data shards, then parity shards, all of the same length in bytes; null for those that are lost
 * @param k number of data shards
 * @returns the k data shards: those that were passed, and the lost ones in new memory
 * @throws RangeError if fewer than k shards are present, counts are not as in {@link encodeParity}, or lengths differ
 */
export function reconstruct(shards: readonly (Uint8Array | null)[], k: number): Uint8Array[] {
  checkCounts(k, shards.length - k)
  const present = [...shards.keys()].filter((index) => shards[index] !== null)
  if (present.length < k) {
    throw new RangeError(
      `${present.length} of ${shards.length} shards are there; ${k} are needed to give the data back`,
    )
  }
  checkLengths(present.map((index) => shards[index]!))
  const lost = [...Array(k).keys()].filter((column) => shards[column] === null)
  if (lost.length === 0) return shards.slice(0, k).map((shard) => shard!)
  const parity = present.filter((index) => index >= k).slice(0, lost.length)
  const zeros = new Uint8Array(shards[present[0]!]!.length)
  const known = shards.slice(0, k).map((shard) => aligned(shard ?? zeros))
  const equations = parity.map((index) => {
    const row = index - k
    const sum = parityOf(row, known)
    add(sum, aligned(shards[index]!))
    return { factors: Uint8Array.from(lost, (column) => coefficient(row, column, k)), sum }
  })
  solve(equations)
  return Array.from({ length: k }, (_, i) => shards[i] ?? equations[lost.indexOf(i)]!.sum)
}

/** The sum of all lost shards, each times its factor, is `sum`. */
interface Equation {
  readonly factors: Uint8Array
  readonly sum: Uint8Array
}

/**
 * Solves the equations in place by Gauss-Jordan elimination: the sum of equation i becomes lost shard i. No pivot is
 * zero, because no square submatrix is singular.
 */
function solve(equations: readonly Equation[]): void {
  for (const [i, pivot] of equations.entries()) {
    // Adding (factor + 1) times the equation to itself multiplies it by `factor`.
    addEquation(pivot, pivot, quotient(1, pivot.factors[i]!) ^ 1)
    for (const other of equations) {
      if (other !== pivot) addEquation(other, pivot, other.factors[i]!)
    }
  }
}

function addEquation(target: Equation, source: Equation, factor: number): void {
  addProduct(target.factors, source.factors, factor)
  addProduct(target.sum, source.sum, factor)
}

function checkCounts(k: number, m: number): void {
  if (Number.isInteger(k) && Number.isInteger(m) && k >= 1 && m >= 1 && k + m <= MAX_SHARDS) return
  throw new RangeError(
    `${k} data and ${m} parity shards: at least one of each is needed, at most ${MAX_SHARDS} in all`,
  )
}

function checkLengths(shards: readonly Uint8Array[]): void {
  const other = shards.find(({ length }) => length !== shards[0]!.length)
  if (other === undefined) return
  throw new RangeError(
    `shards of ${shards[0]!.length} and ${other.length} bytes: pad the data to shards of one length`,
  )
}
