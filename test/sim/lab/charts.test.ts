/** Checks the elements of charts against laws that hold for all numbers. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { bandOf } from '../../../sim/lab/report/band.ts'
import { byteUnit, hoursText, significant, withMargin } from '../../../sim/lab/report/format.ts'
import { looksOf } from '../../../sim/lab/report/look.ts'
import { element } from '../../../sim/lab/report/markup.ts'
import { scale, ticksAround, ticksWithin } from '../../../sim/lab/report/scale.ts'
import { sampleResults } from '../../fixtures/results.ts'

describe('ticks', () => {
  const domains = fc
    .tuple(
      fc.double({ min: -1e6, max: 1e6, noNaN: true }),
      fc.double({ min: 1e-3, max: 1e6, noNaN: true }),
    )
    .map(([from, span]) => [from, from + span] as const)

  test('are evenly apart, within the domain, and few', () => {
    fc.assert(
      fc.property(domains, fc.integer({ min: 2, max: 10 }), (domain, about) => {
        const { ticks } = ticksWithin(domain, about)
        const slack = 1e-6 * (domain[1] - domain[0])
        expect(ticks.length).toBeLessThanOrEqual(about + 1)
        expect(ticks.length).toBeGreaterThanOrEqual(about / 2.5 - 1)
        for (const { value } of ticks) {
          expect(value).toBeGreaterThanOrEqual(domain[0] - slack)
          expect(value).toBeLessThanOrEqual(domain[1] + slack)
        }
        const gaps = ticks.slice(1).map(({ value }, i) => value - ticks[i]!.value)
        for (const gap of gaps) expect(Math.abs(gap - gaps[0]!)).toBeLessThan(slack)
      }),
    )
  })

  test('around a domain cover it, and each is named otherwise', () => {
    fc.assert(
      fc.property(domains, (domain) => {
        const { domain: wide, ticks } = ticksAround(domain)
        const slack = 1e-6 * (domain[1] - domain[0])
        expect(wide[0]).toBeLessThanOrEqual(domain[0] + slack)
        expect(wide[1]).toBeGreaterThanOrEqual(domain[1] - slack)
        expect(wide).toEqual([ticks[0]!.value, ticks.at(-1)!.value])
        expect(new Set(ticks.map(({ label }) => label)).size).toBe(ticks.length)
      }),
    )
  })

  test('are round numbers with the digits that they need', () => {
    const labels = (from: number, to: number) =>
      ticksWithin([from, to]).ticks.map(({ label }) => label)
    expect(labels(0, 1)).toEqual(['0.0', '0.2', '0.4', '0.6', '0.8', '1.0'])
    expect(labels(2.13, 2.19)).toEqual(['2.14', '2.16', '2.18'])
    expect(labels(-3, 17)).toEqual(['0', '5', '10', '15'])
    expect(labels(0, 60_000)).toEqual(['0', '20k', '40k', '60k'])
    expect(labels(0, 4e6)).toEqual(['0', '1M', '2M', '3M', '4M'])
  })

  test('of one number alone are an axis all the same', () => {
    expect(ticksAround([3, 3]).ticks.length).toBeGreaterThan(1)
    expect(scale([3, 3], [0, 100]).at(3)).toBe(0)
  })
})

describe('a band', () => {
  test('is mean and margin of the seeds at every place', () => {
    const xs = [0, 10, 20, 30]
    const curve = (factor: number) => xs.map((x) => [x, factor * (x + 1)] as const)
    const band = bandOf([curve(1), curve(3)])
    expect(band.map(({ x }) => x)).toEqual(xs)
    for (const { x, mean, margin } of band) {
      expect(mean).toBeCloseTo(2 * (x + 1), 10)
      expect(margin! / (x + 1)).toBeCloseTo(Math.tan(0.475 * Math.PI), 3)
    }
  })

  test('interpolates seeds that were evaluated elsewhere, and ends with the first of them', () => {
    const line = (...xs: number[]) => xs.map((x) => [x, 2 * x + 1] as const)
    const band = bandOf([line(0, 4, 8), line(1, 3, 5)])
    expect(band.map(({ x }) => x)).toEqual([1, 3, 4, 5])
    for (const { x, mean, margin } of band) {
      expect(mean).toBeCloseTo(2 * x + 1, 10)
      expect(margin).toBeCloseTo(0, 10)
    }
  })

  test('of very many points keeps the ends, of one seed has no margin, of none is empty', () => {
    const long = Array.from({ length: 5000 }, (_, i) => [i, 1] as const)
    const band = bandOf([long])
    expect(band.length).toBeLessThan(200)
    expect([band[0]!.x, band.at(-1)!.x]).toEqual([0, 4999])
    expect(band.every(({ margin }) => margin === null)).toBe(true)
    expect(bandOf([[], []])).toEqual([])
  })
})

test('numbers have as many digits as their margin allows', () => {
  const margins: [number, number | null, string][] = [
    [3.1428, 0.123, '3.14 ± 0.12'],
    [367.8, 24.2, '368 ± 24'],
    [10.1284, 0.0281, '10.13 ± 0.03'],
    [2.21312, 0.00031, '2.2131 ± 0.0003'],
    [5, null, '5.00'],
    [0, 0, '0 ± 0'],
    [123_456, 1234, '123\u202f456 ± 1234'],
    [-0.5, 0.2, '−0.50 ± 0.20'],
  ]
  for (const [mean, margin, text] of margins) expect(withMargin({ mean, margin })).toBe(text)
  expect(significant(0.99999)).toBe('1.00')
  expect(significant(0.000012345)).toBe('0.0000123')
  expect([hoursText(0.01), hoursText(0.5), hoursText(30), hoursText(720)]).toEqual([
    '36.0 s',
    '30.0 min',
    '30.0 h',
    '30.0 days',
  ])
  expect([0, 999, 2e3, 5e9].map((bytes) => byteUnit(bytes).name)).toEqual([
    'bytes',
    'bytes',
    'kB',
    'GB',
  ])
})

test('nothing in a text or an attribute becomes an element', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      const { text: made } = element('p', { title: text }, text)
      const [, title, content] = /^<p title="([^"<]*)">([^<]*)<\/p>$/.exec(made)!
      expect(title).toBe(content)
      expect(content!.replace(/&(?:amp|lt|gt|quot|#39);/g, '')).not.toMatch(/[<>"'&]/)
    }),
  )
})

test('no two strategies look the same', () => {
  const { strategies, trials } = sampleResults({ seeds: 1 })
  const looks = [...looksOf({ strategies, trials }).values()]
  expect(looks.length).toBeGreaterThan(strategies.length)
  expect(new Set(looks.map(({ colour, round }) => `${colour} ${round}`)).size).toBe(looks.length)
})
