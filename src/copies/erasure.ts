/**
 * Reed-Solomon erasure code over bytes: of k data shards and m parity shards, any k give the data back. Systematic, with
 * a Cauchy matrix over GF(2^8) (Blömer et al., ICSI TR-95-048, 1995): parity shard i is the sum of t_j / (u_i + t_j) times
 * data shard j, where t_j = x^j and u = 0, infinity, x^k, x^(k+1) ... The first two are then cheap, and those of RAID-6
 * (Anvin, The mathematics of RAID-6): the plain XOR, and the sum of x^j times shard j. Every square part of a Cauchy
 * matrix can be inverted; one row of infinity, scaled, and scaled columns change nothing about that.
 *
 * A byte of a shard depends on the bytes at the same place in the others alone. So the shards can be coded piece by piece:
 * give the same `subarray` of each.
 */

/** Shards that a code can have, data and parity: each takes an element of the field. */
export const MAX_SHARDS = 256

/** x^8 + x^4 + x^3 + x^2 + 1, of which x is a generator. */
const POLYNOMIAL = 0x11d
const FIELD = 256
const UNITS = FIELD - 1

/** `POWERS[i]` is x^i; twice round, so that the sum of two logarithms needs no remainder. */
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

/** @param b not zero. */
function quotient(a: number, b: number): number {
  return a === 0 ? 0 : POWERS[LOGARITHMS[a]! + UNITS - LOGARITHMS[b]!]!
}

/** What data shard `column` of k counts for in parity shard `row`. */
function coefficient(row: number, column: number, k: number): number {
  if (row === 0) return 1
  const place = POWERS[column]!
  return row === 1 ? place : quotient(place, POWERS[k + row - 2]! ^ place)
}

/** The whole words of a shard that is aligned to 4 bytes. */
function wordsOf({ buffer, byteOffset, length }: Uint8Array): Int32Array {
  return new Int32Array(buffer, byteOffset, length >> 2)
}

function add(target: Uint8Array, source: Uint8Array): void {
  const [into, from] = [wordsOf(target), wordsOf(source)]
  for (let i = 0; i < into.length; i++) into[i]! ^= from[i]!
  for (let i = into.length << 2; i < target.length; i++) target[i]! ^= source[i]!
}

/**
 * Horner's rule: `target` times x, plus `source`. Each byte of a word moves up a bit, and one that overflows is reduced by
 * the polynomial.
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
 * Adds `factor` times `source` to `target`: four bytes a turn, each looked up in the 256 products of the factor. (Two
 * bytes a look-up are a third faster, but need a table of 128 KiB for each factor.)
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

/** Parity shard `row` of data that is aligned. */
function parityOf(row: number, data: readonly Uint8Array[]): Uint8Array {
  const parity = new Uint8Array(data[0]!.length)
  // From the last to the first, as Horner's rule has it.
  for (let column = data.length - 1; column >= 0; column--) {
    if (row === 1) timesXPlus(parity, data[column]!)
    else addProduct(parity, data[column]!, coefficient(row, column, data.length))
  }
  return parity
}

/** Memory that words can be read from: a copy where it does not begin at a multiple of 4 bytes. */
function aligned(shard: Uint8Array): Uint8Array {
  return shard.byteOffset % 4 === 0 ? shard : shard.slice()
}

/**
 * @param shards the k data shards, of one length in bytes.
 * @param m how many parity shards to make.
 * @returns the m parity shards: new memory.
 * @throws RangeError when k or m is not one, there are more than `MAX_SHARDS` in all, or lengths differ.
 */
export function encodeParity(shards: readonly Uint8Array[], m: number): Uint8Array[] {
  const k = shards.length
  checkCounts(k, m)
  checkLengths(shards)
  const data = shards.map(aligned)
  return Array.from({ length: m }, (_, row) => parityOf(row, data))
}

/**
 * @param shards data and parity in the order in which they were coded, those that are lost as null. At least k are there,
 * of one length in bytes. Which they are and that they are whole is for the caller to check: a wrong byte goes unnoticed.
 * @param k how many of them, the first, are data.
 * @returns the k data shards: those given as they are, the lost ones in new memory.
 * @throws RangeError when fewer than k are there, counts are not as `encodeParity` takes them, or lengths differ.
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

/** The lost shards, each times its factor, give the sum. */
interface Equation {
  readonly factors: Uint8Array
  readonly sum: Uint8Array
}

/**
 * Gauss-Jordan elimination in place: the sum of equation i becomes lost shard i. No pivot is zero, since no square part of
 * the matrix is singular.
 */
function solve(equations: readonly Equation[]): void {
  for (const [i, pivot] of equations.entries()) {
    // (factor + 1) times itself is added, which makes it `factor` times.
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
