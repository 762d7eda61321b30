/** The erasure code: any k of the k + m shards restore the data bit for bit, and fewer are refused. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { encodeParity, MAX_SHARDS, reconstruct } from '../../../src/copies/erasure.ts'
import { Random } from '../../../stages/random.ts'

/** Length of the data, not a multiple of four, so that the bytes after the last word are tested, too. */
const LENGTH = 23

function drawShards(count: number, length: number, seed: string): Uint8Array[] {
  const random = new Random(seed)
  return Array.from({ length: count }, () => Uint8Array.from({ length }, () => random.integer(256)))
}

/** Product in GF(2^8): polynomials over GF(2) as bits, with the remainder modulo x^8 + x^4 + x^3 + x^2 + 1. */
function times(a: number, b: number): number {
  let long = 0
  for (let bit = 0; bit < 8; bit++) if ((b >> bit) & 1) long ^= a << bit
  for (let bit = 14; bit >= 8; bit--) if ((long >> bit) & 1) long ^= 0x11d << (bit - 8)
  return long
}

/** Inverse a^254, since the units are a group of order 255. */
const inverse = (a: number) => Array<number>(254).fill(a).reduce(times, 1)
const timesAll = (factors: readonly number[]) => factors.reduce(times, 1)
const sum = (terms: readonly number[]) => terms.reduce((total, term) => total ^ term, 0)
const power = (exponent: number) => Array<number>(exponent).fill(2).reduce(times, 1)

/**
 * The code as values of a polynomial, after Reed and Solomon: f, of degree below k, goes through
 * f(t_j) = d_j t_j Π_{l≠j} (t_j - t_l) at the places t_j = x^j of the data, and parity shard i is f(u) / Π_l (u - t_l) at
 * its place u = 0, infinity, x^k, x^(k+1) ... Minus is exclusive or. Lagrange's formula gives f; at infinity the quotient
 * times u is f's coefficient of degree k - 1.
 */
function slowParity(data: readonly number[], m: number): number[] {
  const k = data.length
  const places = data.map((_, j) => power(j))
  const distances = (from: number) => places.filter((place) => place !== from).map((t) => from ^ t)
  const values = data.map((byte, j) => timesAll([byte, places[j]!, ...distances(places[j]!)]))
  const lagrange = values.map((value, j) => times(value, inverse(timesAll(distances(places[j]!)))))
  const at = (u: number) =>
    sum(
      lagrange.map((factor, j) =>
        timesAll([factor, ...places.filter((_, l) => l !== j).map((t) => u ^ t)]),
      ),
    )
  return Array.from({ length: m }, (_, i) => {
    if (i === 1) return sum(lagrange)
    const u = i === 0 ? 0 : power(k + i - 2)
    return times(at(u), inverse(timesAll(places.map((t) => u ^ t))))
  })
}

/** All subsets of 0..count - 1 with `size` elements. */
function* subsets(count: number, size: number, from = 0): Generator<number[]> {
  if (size === 0) yield []
  else {
    for (let first = from; first <= count - size; first++) {
      for (const rest of subsets(count, size - 1, first + 1)) yield [first, ...rest]
    }
  }
}

function without(shards: readonly Uint8Array[], lost: readonly number[]) {
  return shards.map((shard, index) => (lost.includes(index) ? null : shard))
}

const SIZES: readonly (readonly [k: number, m: number])[] = [
  [1, 1],
  [1, 3],
  [2, 1],
  [3, 2],
  [4, 2],
  [6, 3],
  [5, 5],
]

describe.each(SIZES)('with %i data shards and %i parity shards', (k, m) => {
  const data = drawShards(k, LENGTH, `erasure ${k} ${m}`)
  const all = [...data, ...encodeParity(data, m)]

  test('parity equals the values of the polynomial', () => {
    for (let byte = 0; byte < LENGTH; byte++) {
      const expected = slowParity(
        data.map((shard) => shard[byte]!),
        m,
      )
      expect(
        all.slice(k).map((shard) => shard[byte]),
        `byte ${byte}`,
      ).toEqual(expected)
    }
  })

  test('the first parity shard is the XOR of the data shards', () => {
    expect(all[k]).toEqual(
      Uint8Array.from({ length: LENGTH }, (_, i) => sum(data.map((shard) => shard[i]!))),
    )
  })

  test('the data is restored after any loss of up to m shards, and a loss of m + 1 is refused', () => {
    for (let count = 0; count <= m; count++) {
      for (const lost of subsets(k + m, count)) {
        expect(reconstruct(without(all, lost), k), `lost ${lost}`).toEqual(data)
      }
    }
    for (const lost of subsets(k + m, m + 1)) {
      expect(() => reconstruct(without(all, lost), k), `lost ${lost}`).toThrow(
        `${k - 1} of ${k + m} shards are there; ${k} are needed`,
      )
    }
  })
})

test.each([
  [10, 4, 200],
  [100, 28, 5],
  [1, MAX_SHARDS - 1, 5],
  [MAX_SHARDS - 1, 1, 5],
])(
  'with %i data shards and %i parity shards, the data is restored after drawn losses of m',
  (k, m, draws) => {
    const random = new Random(`losses ${k} ${m}`)
    const data = drawShards(k, 9, 'data')
    const all = [...data, ...encodeParity(data, m)]
    for (let i = 0; i < draws; i++) {
      const left = [...all.keys()]
      const lost = Array.from({ length: m }, () => left.splice(random.integer(left.length), 1)[0]!)
      expect(reconstruct(without(all, lost), k), `lost ${lost}`).toEqual(data)
    }
  },
)

test('the code works for any bytes, any alignment, and any split into pieces', () => {
  const codes = fc.record({
    k: fc.integer({ min: 1, max: 12 }),
    m: fc.integer({ min: 1, max: 5 }),
    length: fc.integer({ min: 0, max: 40 }),
    offset: fc.integer({ min: 0, max: 3 }),
    cut: fc.nat({ max: 40 }),
    seed: fc.string(),
    order: fc.infiniteStream(fc.nat()),
  })
  fc.assert(
    fc.property(codes, ({ k, m, length, offset, cut, seed, order }) => {
      const data = drawShards(k, length + offset, seed).map((bytes) => bytes.subarray(offset))
      const parity = encodeParity(data, m)
      const pieces = [
        encodeParity(
          data.map((shard) => shard.subarray(0, cut)),
          m,
        ),
        encodeParity(
          data.map((shard) => shard.subarray(cut)),
          m,
        ),
      ]
      expect(
        parity.map((_, i) => Buffer.concat(pieces.map((piece) => piece[i]!)).toString('hex')),
      ).toEqual(parity.map((shard) => Buffer.from(shard).toString('hex')))

      const left = [...Array(k + m).keys()]
      const lost = Array.from(
        { length: m },
        () => left.splice(order.next().value! % left.length, 1)[0]!,
      )
      expect(reconstruct(without([...data, ...parity], lost), k)).toEqual(data)
    }),
  )
})

test('remaining shards are given back unchanged, and no input is written to', () => {
  const data = drawShards(4, 16, 'own')
  const all = [...data, ...encodeParity(data, 2)]
  const before = all.map((shard) => shard.slice())
  const made = reconstruct(without(all, [1]), 4)
  expect(made[0]).toBe(data[0])
  expect(made[1]).not.toBe(data[1])
  expect(all).toEqual(before)
})

test.each([
  ['no data', () => encodeParity([], 1), '0 data and 1 parity shards'],
  ['no parity', () => encodeParity(drawShards(2, 4, ''), 0), '2 data and 0 parity shards'],
  ['half a shard', () => encodeParity(drawShards(2, 4, ''), 1.5), 'at least one of each'],
  ['too many', () => encodeParity(drawShards(MAX_SHARDS, 1, ''), 1), 'at most 256 in all'],
  ['too few', () => reconstruct(drawShards(4, 1, ''), 4), '4 data and 0 parity shards'],
  [
    'data shards of different lengths',
    () => encodeParity([new Uint8Array(3), new Uint8Array(4)], 1),
    'shards of 3 and 4 bytes: pad',
  ],
  [
    'remaining shards of different lengths',
    () => reconstruct([new Uint8Array(3), null, new Uint8Array(4)], 2),
    'shards of 3 and 4 bytes: pad',
  ],
])('the code refuses %s', (_, work, message) => {
  expect(work).toThrow(RangeError)
  expect(work).toThrow(message)
})
