/**
 * Checks drawn failures against their laws. Seeds are fixed, so a bound of four sigma always gives the same result. Long
 * because each failure process has its law here.
 */
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { z } from 'zod'
import type { Loss, Place } from '../../../sim/lab/failures/loss.ts'
import { describeFailure, drawLosses, failureSchema } from '../../../sim/lab/failures/table.ts'

const REGIONS = ['oregon', 'virginia', 'london']
const SECONDS = 1 / 3600

function place(overrides: Partial<Place> = {}): Place {
  return {
    hours: 100,
    stages: 6,
    peers: 9,
    regionOf: (slot) => REGIONS[slot % REGIONS.length]!,
    iterationSeconds: 90,
    ...overrides,
  }
}

function draw(process: object, overrides: Partial<Place> = {}, seed = 1): Loss[] {
  return drawLosses(failureOf(process), place(overrides), seed, '.')
}

function failureOf(process: object) {
  return failureSchema.parse({ name: 'some', ...process })
}

const stageOf = (loss: Loss) => ('stage' in loss ? loss.stage : Number.NaN)
const slotOf = (loss: Loss) => ('slot' in loss ? loss.slot : Number.NaN)
const keyOf = (loss: Loss) => JSON.stringify(loss)
const sum = (numbers: readonly number[]) => numbers.reduce((total, n) => total + n, 0)

function expectWithinSigmas(actual: number, mean: number, variance: number, sigmas = 4) {
  expect(Math.abs(actual - mean)).toBeLessThan(sigmas * Math.sqrt(variance))
}

/** Checks the count against a Poisson distribution, whose variance is its mean. */
function expectPoisson(count: number, mean: number) {
  expectWithinSigmas(count, mean, mean)
}

/** Groups losses that follow each other within ten seconds. */
function groupsOf(losses: readonly Loss[]): Loss[][] {
  const groups: Loss[][] = []
  for (const loss of losses) {
    const last = groups.at(-1)
    if (last !== undefined && loss.hours - last.at(-1)!.hours < 10 * SECONDS) last.push(loss)
    else groups.push([loss])
  }
  return groups
}

test('nothing fails of `none`', () => {
  expect(draw({ process: 'none' })).toEqual([])
})

test.each([0.05, 0.1, 0.16, 0.33, 0.9])('a share of %d fails in an hour', (rate) => {
  const hours = 2000
  const losses = draw({ process: 'hourly', rate, of: 'stage' }, { hours })
  expectPoisson(losses.length, -Math.log(1 - rate) * hours * 6)
  const failing = new Set(losses.map((loss) => `${stageOf(loss)} ${Math.floor(loss.hours)}`))
  expectWithinSigmas(failing.size, rate * hours * 6, rate * (1 - rate) * hours * 6)
  for (let stage = 1; stage <= 6; stage++) {
    const own = losses.filter((loss) => stageOf(loss) === stage)
    expectPoisson(own.length, -Math.log(1 - rate) * hours)
  }
})

test('stages fail independently of each other', () => {
  const hours = 4000
  const losses = draw({ process: 'hourly', rate: 0.3, of: 'stage' }, { hours, stages: 2 })
  const hoursOf = (stage: number) =>
    new Set(losses.filter((loss) => stageOf(loss) === stage).map((loss) => Math.floor(loss.hours)))
  const both = [...hoursOf(1)].filter((hour) => hoursOf(2).has(hour))
  expectWithinSigmas(both.length, 0.09 * hours, 0.09 * 0.91 * hours)
})

test('peers fail at the same rate, also those that hold no stage', () => {
  const losses = draw({ process: 'hourly', rate: 0.16, of: 'peer' }, { hours: 1000, peers: 20 })
  expectPoisson(losses.length, -Math.log(0.84) * 20_000)
  expect(new Set(losses.map(slotOf)).size).toBe(20)
})

test('the ends fail where it is said, and the edges unless it is said', () => {
  const failing = (fields: object) =>
    [...new Set(draw({ process: 'hourly', rate: 0.5, of: 'stage', ...fields }).map(stageOf))].sort()
  expect(failing({})).toEqual([1, 2, 3, 4, 5, 6])
  expect(failing({ ends: true })).toEqual([0, 1, 2, 3, 4, 5, 6])
  expect(failing({ edges: false })).toEqual([2, 3, 4, 5])
  expect(failing({ ends: true, edges: false })).toEqual([0, 2, 3, 4, 5])
})

const CASES: [string, (level: number) => object][] = [
  ['hourly', (level) => ({ process: 'hourly', rate: level, of: 'stage' })],
  ['hourly of peers', (level) => ({ process: 'hourly', rate: level, of: 'peer' })],
  ['iteration', (level) => ({ process: 'iteration', probability: level })],
  [
    'diurnal',
    (level) => ({ process: 'diurnal', rate: level, amplitude: 0.7, peakHour: 20, of: 'peer' }),
  ],
  [
    'bursts',
    (level) => ({ process: 'bursts', perHour: 4 * level, size: 3, by: 'region', of: 'peer' }),
  ],
]

const seeds = fc.integer({ min: 0, max: 1_000_000 })
const levels = fc.double({ min: 0, max: 0.999, noNaN: true })

test.each(CASES)('%s: what fails at a lower rate fails at a higher one', (_, process) => {
  fc.assert(
    fc.property(seeds, levels, levels, (seed, one, other) => {
      const low = draw(process(Math.min(one, other)), { hours: 48 }, seed)
      const high = new Set(draw(process(Math.max(one, other)), { hours: 48 }, seed).map(keyOf))
      expect(low.filter((loss) => !high.has(keyOf(loss)))).toEqual([])
    }),
    { numRuns: 50 },
  )
})

const LASTING: [string, object][] = [
  ...CASES.slice(0, 4).map(([name, process]): [string, object] => [name, process(0.3)]),
  ['lifetimes', { process: 'lifetimes', distribution: 'exponential', meanHours: 4 }],
  ['spot', { process: 'spot', like: 'aws-p3' }],
]

test.each(LASTING)(
  '%s: more stages, peers or hours leave the failures of the others',
  (_, process) => {
    fc.assert(
      fc.property(seeds, fc.integer({ min: 1, max: 40 }), (seed, more) => {
        const small = { hours: 24, stages: 6, peers: 9 }
        const few = draw(process, small, seed)
        const many = draw(process, { hours: 24 + more, stages: 6 + more, peers: 9 + more }, seed)
        const same = many.filter(
          (loss) => loss.hours < 24 && ('stage' in loss ? loss.stage <= 6 : loss.slot < 9),
        )
        expect(same).toEqual(few)
      }),
      { numRuns: 30 },
    )
  },
)

test('losses are in the order of time, depend on the seed and not on the name', () => {
  for (const [, process] of [...CASES.map(([, of]) => ['', of(0.5)] as const), ...LASTING]) {
    const losses = draw(process)
    expect(losses.length).toBeGreaterThan(0)
    expect(losses).toEqual([...losses].sort((a, b) => a.hours - b.hours))
    expect(Math.max(...losses.map(({ hours }) => hours))).toBeLessThan(100)
    expect(draw({ ...process, name: 'other' })).toEqual(losses)
    expect(draw(process, {}, 2)).not.toEqual(losses)
  }
})

test('after an iteration, each stage fails with the given probability', () => {
  const losses = draw({ process: 'iteration', probability: 0.01 }, { hours: 500 })
  const draws = 6 * 500 * 40
  expectWithinSigmas(losses.length, 0.01 * draws, 0.01 * 0.99 * draws)
  for (const { hours } of losses) {
    const iterations = (hours * 3600) / 90
    expect(iterations - Math.floor(iterations)).toBeCloseTo(0.001, 6)
  }
})

test('with probability 1 every stage fails after every iteration', () => {
  const losses = draw({ process: 'iteration', probability: 1 }, { hours: 1, stages: 3 })
  expect(losses.map(stageOf)).toEqual(Array.from({ length: 39 }, () => [1, 2, 3]).flat())
})

/**
 * The first twenty lives of each slot. Lives that end within a given number of hours would be biased towards short lives.
 */
function livesOf(process: object): number[] {
  const slots = Array.from({ length: 500 }, () => [0])
  for (const loss of draw(process, { hours: 400, peers: 500 }))
    slots[slotOf(loss)]!.push(loss.hours)
  const lives = slots.flatMap((ends) => ends.slice(1, 21).map((end, i) => end - ends[i]!))
  expect(lives.length).toBe(10_000)
  return lives
}

test.each([
  // The expected values are the squared coefficient of variation, Γ(1 + 2/k) / Γ(1 + 1/k)² - 1, and the median in means.
  { shape: undefined, variance: 1, median: Math.LN2 },
  { shape: 0.5, variance: 24 / 4 - 1, median: Math.LN2 ** 2 / 2 },
  { shape: 1, variance: 1, median: Math.LN2 },
  { shape: 2, variance: 4 / Math.PI - 1, median: Math.sqrt((Math.LN2 * 4) / Math.PI) },
])('lives have the mean and the spread of their distribution, shape $shape', (law) => {
  const meanHours = 3
  const distribution = law.shape === undefined ? 'exponential' : 'weibull'
  const lives = livesOf({ process: 'lifetimes', distribution, meanHours, shape: law.shape })
  const n = lives.length
  const mean = sum(lives) / n
  expectWithinSigmas(mean, meanHours, (law.variance * meanHours ** 2) / n)
  const below = lives.filter((life) => life < law.median * meanHours).length
  expectWithinSigmas(below, n / 2, n / 4)
})

test('a burst takes peers of one region within seconds, and as many as it should', () => {
  // Losses are so rare that no two come together.
  const hours = 200_000
  const process = { process: 'bursts', perHour: 0.005, size: 3, by: 'region', of: 'peer' }
  const groups = groupsOf(draw(process, { hours, peers: 300 }))
  expectPoisson(groups.length, 0.005 * hours)
  const regions = groups.map((group) => new Set(group.map((loss) => slotOf(loss) % 3)))
  expect(regions.every(({ size }) => size === 1)).toBe(true)
  for (const region of [0, 1, 2]) {
    const own = regions.filter((set) => set.has(region)).length
    expectWithinSigmas(own, groups.length / 3, (groups.length * 2) / 9)
  }
  for (const group of groups) {
    expect(group.at(-1)!.hours - group[0]!.hours).toBeLessThan(5 * SECONDS)
    expect(new Set(group.map(keyOf)).size).toBe(group.length)
  }
  // The size is geometric with mean 3, so its variance is 3 · 2.
  const members = sum(groups.map(({ length }) => length))
  expectWithinSigmas(members, 3 * groups.length, 6 * groups.length)
  const alone = groups.filter(({ length }) => length === 1).length
  expectWithinSigmas(alone, groups.length / 3, (groups.length * 2) / 9)
})

test('a burst of any peers strikes all alike, in all regions', () => {
  const process = { process: 'bursts', perHour: 0.1, size: 4, by: 'any', of: 'peer' }
  const losses = draw(process, { hours: 20_000, peers: 12 })
  const groups = groupsOf(losses)
  expect(groups.some((group) => new Set(group.map((loss) => slotOf(loss) % 3)).size > 1)).toBe(true)
  for (let slot = 0; slot < 12; slot++) {
    const own = losses.filter((loss) => slotOf(loss) === slot).length
    expectWithinSigmas(own, losses.length / 12, losses.length / 12)
  }
})

test('a burst of stages takes neighbours', () => {
  const process = { process: 'bursts', perHour: 0.005, size: 2.5, by: 'region', of: 'stage' }
  const groups = groupsOf(draw(process, { hours: 100_000, stages: 8 }))
  expect(groups.some(({ length }) => length === 8)).toBe(true)
  for (const group of groups) {
    const stages = group.map(stageOf).sort((a, b) => a - b)
    expect(stages).toEqual(stages.map((_, i) => stages[0]! + i))
  }
})

test('a burst takes no more than there are', () => {
  const process = { process: 'bursts', perHour: 1, size: 50, by: 'region', of: 'peer' }
  const groups = groupsOf(draw(process, { hours: 20 }))
  expect(Math.max(...groups.map(({ length }) => length))).toBe(3)
})

test('most leave at the peak of the day, by the integral of the hazard', () => {
  const days = 300
  const hazard = -Math.log(1 - 0.1)
  const process = { process: 'diurnal', rate: 0.1, amplitude: 0.8, peakHour: 21, of: 'peer' }
  const losses = draw(process, { hours: 24 * days, peers: 20 })
  expectPoisson(losses.length, hazard * 24 * days * 20)
  // Three hours around the middle have 6 + 0.8 · 24/2π · (sin π/4 + sin π/4) hours' worth of the mean hazard.
  const swing = 0.8 * (24 / (2 * Math.PI)) * Math.SQRT2
  const around = (middle: number) =>
    losses.filter(({ hours }) => {
      const distance = Math.abs((((hours - middle) % 24) + 24) % 24)
      return Math.min(distance, 24 - distance) < 3
    }).length
  expectPoisson(around(21), hazard * (6 + swing) * days * 20)
  expectPoisson(around(9), hazard * (6 - swing) * days * 20)
})

/** Recorded traces: removals for each instance and hour, and the share of removals that come together with others. */
const RECORDED = [
  { like: 'aws-p3', instances: 24, perInstanceHour: 0.61, together: 0.77 },
  { like: 'aws-g4dn', instances: 13, perInstanceHour: 0.55, together: 0.58 },
  { like: 'gcp-a100', instances: 57, perInstanceHour: 0.1, together: 0.91 },
  { like: 'gcp-v100', instances: 76, perInstanceHour: 0.31, together: 0.97 },
]

test.each(RECORDED)('spot instances are lost as recorded: $like', (recorded) => {
  const hours = 4000
  const { like, instances, perInstanceHour, together } = recorded
  const losses = draw({ process: 'spot', like }, { hours, peers: instances })
  const sizes = new Map<number, number>()
  for (const loss of losses) sizes.set(loss.hours, (sizes.get(loss.hours) ?? 0) + 1)
  const grouped = sum([...sizes.values()].filter((size) => size > 1))
  expect(losses.length / (instances * hours) / perInstanceHour).toBeCloseTo(1, 1)
  expect(grouped / losses.length).toBeCloseTo(together, 2)
})

test.each([5, 200])('each of %d spot instances is lost at the recorded rate', (peers) => {
  const hours = 100_000 / peers
  const losses = draw({ process: 'spot', like: 'aws-g4dn' }, { hours, peers })
  expect(losses.length / 100_000 / 0.55).toBeCloseTo(1, 1)
  expect(new Set(losses.map(slotOf)).size).toBe(peers)
  expect(new Set(losses.map(keyOf)).size).toBe(losses.length)
})

test.each([
  ['an unknown process', { process: 'meteor' }, /process/],
  ['a missing name', { process: 'none', name: undefined }, /name/],
  ['an unknown key', { process: 'none', rate: 0.1 }, /rate/],
  ['all failing in an hour', { process: 'hourly', rate: 1, of: 'stage' }, /rate/],
  ['a negative rate', { process: 'hourly', rate: -0.1, of: 'stage' }, /rate/],
  ['no target', { process: 'hourly', rate: 0.1 }, /of/],
  ['ends of peers', { process: 'hourly', rate: 0.1, of: 'peer', ends: true }, /about stages/],
  ['a probability over 1', { process: 'iteration', probability: 1.1 }, /probability/],
  [
    'weibull without a shape',
    { process: 'lifetimes', distribution: 'weibull', meanHours: 2 },
    /needs a shape/,
  ],
  [
    'exponential with a shape',
    { process: 'lifetimes', distribution: 'exponential', meanHours: 2, shape: 2 },
    /takes none/,
  ],
  ['a burst of nobody', { process: 'bursts', perHour: 1, size: 0, by: 'any', of: 'peer' }, /size/],
  [
    'an hour that no day has',
    { process: 'diurnal', rate: 0.1, amplitude: 0.5, peakHour: 24, of: 'peer' },
    /peakHour/,
  ],
  ['an unknown fleet', { process: 'spot', like: 'azure' }, /like/],
])('%s is refused by name', (_, process, named) => {
  const { error } = failureSchema.safeParse({ name: 'some', ...process })
  expect(z.prettifyError(error!)).toMatch(named)
})

test('no stage that may fail is refused by name', () => {
  const process = { process: 'hourly', rate: 0.1, of: 'stage', edges: false, name: 'calm' }
  expect(() => draw(process, { stages: 2 })).toThrow(/calm.*2 body stages.*edges/s)
})

test('every field says what it means, and docs have it, too', () => {
  const guide = readFileSync('docs/FAILURES.md', 'utf8')
  const { oneOf = [], anyOf = oneOf } = z.toJSONSchema(failureSchema, { io: 'input' })
  expect(anyOf.length).toBe(8)
  for (const option of anyOf) {
    const { description, properties } = option as {
      description?: string
      properties: Record<string, { description?: string }>
    }
    expect(description).toMatch(/\.$/)
    for (const [field, schema] of Object.entries(properties)) {
      expect(guide, field).toContain(`\`${field}\``)
      expect(schema.description, field).toMatch(/\.$/)
    }
  }
})

test('each process says in a sentence what happens', () => {
  const process = { process: 'hourly', rate: 0.16, of: 'stage', edges: false }
  expect(describeFailure(failureOf(process))).toBe(
    'Each body stage but the first and the last fails with 16 % in an hour, independently of the others.',
  )
  for (const [, other] of LASTING) expect(describeFailure(failureOf(other))).toMatch(/^Each|^Peers/)
})
