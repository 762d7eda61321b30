/** Checks losses of recorded traces against results by hand. Each kind of damage is refused with its line number. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, expect, test } from 'vitest'
import type { Loss } from '../../../sim/lab/failures/loss.ts'
import { drawLosses, failureSchema } from '../../../sim/lab/failures/table.ts'
import { InputError } from '../../../src/base/errors.ts'

const folder = mkdtempSync(join(tmpdir(), 'trace-'))
afterAll(() => rmSync(folder, { recursive: true }))

interface Replay {
  readonly peers?: number
  readonly hours?: number
  readonly seed?: number
  readonly gapHoursMax?: number
}

function replay(
  text: string,
  { peers = 2, hours = 1, seed = 1, gapHoursMax }: Replay = {},
): Loss[] {
  mkdirSync(join(folder, 'traces'), { recursive: true })
  writeFileSync(join(folder, 'traces/some.csv'), text)
  const failure = failureSchema.parse({
    name: 'recorded',
    process: 'trace',
    path: 'traces/some.csv',
    ...(gapHoursMax === undefined ? {} : { gapHoursMax }),
  })
  const place = { hours, stages: 3, peers, regionOf: () => 'one', iterationSeconds: 60 }
  return drawLosses(failure, place, seed, folder)
}

/** Losses as minutes and slots. */
function minutes(losses: readonly Loss[]) {
  return losses.map((loss) => [
    Math.round(loss.hours * 60 * 1e6) / 1e6,
    'slot' in loss ? loss.slot : Number.NaN,
  ])
}

const MINUTE = 60_000
const events = (...lines: [minute: number, rest: string][]) =>
  lines.map(([minute, rest]) => `${minute * MINUTE},${rest}\n`).join('')

test('who was added first has the first slot, and a spare takes the empty one', () => {
  const text = events(
    [10, 'add,a'],
    [10, 'add,b'],
    [10, 'add,c'],
    // Peer c takes slot 0 of peer a.
    [20, 'remove,a'],
    [25, 'add,d'],
    [30, 'remove,c'],
    // No peer stands by. Slot 0 belongs to d, and slot 1 stays empty until e comes.
    [40, 'remove,b'],
    [50, 'add,e'],
    [55, 'remove,e'],
    [75, 'remove,d'],
  )
  const expected = [
    [10, 0],
    [20, 0],
    [30, 1],
    [45, 1],
    [65, 0],
  ]
  expect(minutes(replay(text, { hours: 1.09 }))).toEqual(expected)
  expect(minutes(replay(text, { hours: 1 }))).toEqual(expected.slice(0, 4))
  // With one slot, b stands by for a, and d stands by for b, since c has gone.
  expect(minutes(replay(text, { peers: 1, hours: 0.7 }))).toEqual([
    [10, 0],
    [30, 0],
  ])
})

test('nobody who goes at the same moment takes the place of another', () => {
  const text = events(
    [0, 'add,a'],
    [0, 'add,b'],
    [5, 'remove,a'],
    [5, 'remove,b'],
    [5, 'add,c'],
    [9, 'remove,c'],
  )
  expect(minutes(replay(text, { peers: 1, hours: 0.15 }))).toEqual([[5, 0]])
  expect(minutes(replay(text, { peers: 2, hours: 0.16 }))).toEqual([
    [5, 0],
    [5, 1],
    [9, 0],
  ])
})

test('a trace that is over begins again', () => {
  const text = events([0, 'add,a'], [12, 'remove,a'], [15, 'add,b'], [20, 'add,c'])
  expect(minutes(replay(text))).toEqual([
    [12, 0],
    [32, 0],
    [52, 0],
  ])
})

test('lines of Windows, empty lines and spaces are read', () => {
  const text = '0,add,a\r\n\r\n0, add , b\r\n300000,remove,b\r\n\r\n'
  expect(minutes(replay(text, { hours: 5.5 / 60 }))).toEqual([[5, 1]])
})

const samples = (...counts: [time: string, count: number][]) =>
  counts.map(([time, count]) => `2021-12-11, ${time}, ${count}\n`).join('')

test('as many went as the count of samples fell by', () => {
  const text = samples(
    ['11:00:00', 3],
    ['11:10:00', 3],
    ['11:20:30', 1],
    ['11:30:00', 3],
    ['12:00:00', 0],
  )
  for (let seed = 0; seed < 20; seed++) {
    const losses = replay(text, { peers: 3, hours: 0.99, seed })
    expect(losses.map(({ hours }) => hours * 60)).toEqual([20.5, 20.5])
    const slots = losses.map((loss) => ('slot' in loss ? loss.slot : Number.NaN))
    expect(new Set(slots).size).toBe(2)
  }
})

test('each of the instances goes as often as the others, by the seed', () => {
  const text = samples(['11:00:00', 40], ['11:20:00', 30], ['11:50:00', 30])
  let lost = 0
  for (let seed = 0; seed < 200; seed++) lost += replay(text, { peers: 8, hours: 0.5, seed }).length
  // A quarter of the 40 peers went. Eight of them are drawn without replacement, which has a hypergeometric variance.
  const variance = 200 * 8 * 0.25 * 0.75 * (32 / 39)
  expect(Math.abs(lost - 400)).toBeLessThan(4 * Math.sqrt(variance))
})

test('time goes on over ends of months, years and leap days as in the calendar', () => {
  const day = 86_400_000
  const from = Date.UTC(1999, 0, 1)
  const moments = fc.tuple(
    fc.integer({ min: 0, max: 40 * 365 }).map((days) => from + days * day),
    fc.integer({ min: 60, max: 400 * 86_400 }),
  )
  fc.assert(
    fc.property(moments, ([start, seconds]) => {
      const [a, b] = [start, start + seconds * 1000].map((ms) =>
        new Date(ms).toISOString().replace('T', ', ').slice(0, 20),
      )
      // The trace starts again after its end. The first loss comes before that.
      const hours = (1.5 * seconds) / 3600
      const [loss] = replay(`${a}, 1\n${b}, 0\n`, { hours, gapHoursMax: 10_000 })
      expect(loss!.hours * 3600).toBeCloseTo(seconds, 3)
    }),
    { numRuns: 50 },
  )
})

test('a longer gap is read where it is allowed', () => {
  const text = samples(['11:00:00', 2], ['13:30:00', 1])
  expect(minutes(replay(text, { hours: 2.6, gapHoursMax: 2.5, peers: 2 }))).toHaveLength(1)
  expect(() => replay(text)).toThrow(/line 2: a gap of 2.5 hours/)
})

const FIRST = '0,add,a\n'
const SAMPLE = '2021-12-11, 11:00:00, 3\n'

test.each([
  ['an empty one', '', /some\.csv is empty/],
  ['one of empty lines', '\n \n', /is empty/],
  ['one that is over at once', '5,add,a\n5,add,b\n', /0 ms long/],
  ['time that goes back', `5,add,a\n${FIRST}`, /line 2: its time is earlier.*Sort/],
  ['a removal of who is not there', `${FIRST}60000,remove,b\n`, /line 2: b is removed, but/],
  ['a second removal', `${FIRST}1,remove,a\n60000,remove,a\n`, /line 3: a is removed, but/],
  ['a second addition', `${FIRST}60000,add,a\n`, /line 2: a is added, but/],
  ['an unknown event', `${FIRST}60000,preempt,a\n`, /line 2: unknown event preempt/],
  ['a heading', `time,event,node\n${FIRST}`, /line 1: time is no whole number/],
  ['a fraction', '0.5,add,a\n', /line 1: 0.5 is no whole number/],
  ['a field too few', `${FIRST}60000,add\n`, /line 2: not three fields/],
  ['an instance without a name', `${FIRST}60000,add,\n`, /line 2: not three fields/],
  ['a day that no month has', '2021-02-29, 11:00:00, 3\n', /line 1: 2021-02-29, 11:00:00 is no/],
  ['an hour that no day has', '2021-02-28, 24:00:00, 3\n', /line 1: .*is no date and time/],
  ['the other form further on', `${SAMPLE}60000,add,a\n`, /line 2: 60000, add is no date/],
  ['a sample that goes back', `${SAMPLE}2021-12-11, 10:59:59, 3\n`, /line 2: its time is earlier/],
  ['a gap', `${SAMPLE}2021-12-11, 12:00:01, 3\n`, /line 2: a gap of 1\.0003 hours/],
  ['a count below nothing', `${SAMPLE}2021-12-11, 11:01:00, -1\n`, /line 2: -1 is no number/],
  ['a count beyond bounds', `${SAMPLE}2021-12-11, 11:01:00, 1000000\n`, /line 2: 1000000 is no/],
])('%s is refused by its line', (_, text, message) => {
  expect(() => replay(text)).toThrow(message)
  expect(() => replay(text)).toThrow(InputError)
})

test('a trace that is not there is refused by its path', () => {
  const failure = failureSchema.parse({ name: 'x', process: 'trace', path: 'nowhere.csv' })
  const place = { hours: 1, stages: 3, peers: 2, regionOf: () => 'one', iterationSeconds: 60 }
  expect(() => drawLosses(failure, place, 1, folder)).toThrow(/nowhere\.csv cannot be read.*ENOENT/)
})
