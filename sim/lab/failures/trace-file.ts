/**
 * Reads a trace: recorded arrivals and removals of cloud instances. The first line tells which of two forms a trace has.
 * Lines end with LF or CRLF. Empty lines are skipped, and spaces around a comma are ignored.
 * A trace has no header and no comments.
 *
 * Events, as Bamboo recorded them at AWS: `milliseconds,add|remove,instance`
 *
 *     0,add,node1
 *     0,add,node2
 *     2040000,remove,node1
 *
 * - milliseconds: a whole number since any moment, never less than in the line before. The first line is hour 0.
 * - instance: any name without a comma. An instance is added before it is removed, and removed before it is added again.
 * - A gap of any length means that nothing happened.
 *
 * Samples, as Bamboo recorded them at Google: `YYYY-MM-DD, HH:MM:SS, count`
 *
 *     2021-12-11, 11:14:50, 55
 *     2021-12-11, 11:15:50, 54
 *
 * - date and time: in one time zone without summer time, never earlier than in the line before.
 * - count: number of instances. The fall of the count between two samples is the number of removals.
 *   Removals take the time of the second sample, and the seed draws the instances.
 *   An instance that was replaced between two samples leaves no mark.
 * - Two samples are at most `gapHoursMax` apart, because events in a longer gap would be missing.
 *
 * An invalid trace is refused with its path and line. An empty trace and one shorter than a minute are refused too.
 */
import { readFileSync } from 'node:fs'
import { z } from 'zod'
import { InputError, systemCode } from '../../../src/base/errors.ts'
import type { Random } from '../../../stages/random.ts'

export interface TraceEvent {
  /** Milliseconds since the first line. */
  readonly ms: number
  readonly kind: 'add' | 'remove'
  readonly instance: string
}

export interface Trace {
  /** Events in order of time. Only absent instances are added, and only present ones are removed. */
  readonly events: readonly TraceEvent[]
  /** Milliseconds from the first line to the last one. */
  readonly lengthMs: number
}

/** A line whose time is valid and not earlier than that of the line before. */
interface Line {
  readonly ms: number
  /** Fields after the time. */
  readonly rest: readonly string[]
  refuse(why: string): InputError
}

const FIELDS = 3
const SHORTEST_MS = 60_000
const MS_PER_HOUR = 3_600_000
const MS_PER_DAY = 24 * MS_PER_HOUR
const COUNT_MAX = 100_000
const FORMS = '`milliseconds,add|remove,instance` or `YYYY-MM-DD, HH:MM:SS, count`'

/**
 * Reads and checks a trace.
 * @param gapHoursMax longest gap between two samples, in hours; events ignore it
 * @param random draws the removed instances of samples; events ignore it
 * @throws InputError that names the path and the line
 */
export function readTrace(path: string, gapHoursMax: number, random: Random): Trace {
  const text = read(path)
  const sampled = /^\s*\d{4}-/.test(text)
  const lines = [...linesOf(text, path, sampled)]
  const first = lines[0]
  if (first === undefined) {
    throw new InputError(`Trace ${path} is empty. A line of a trace is ${FORMS}.`)
  }
  const lengthMs = lines.at(-1)!.ms - first.ms
  if (lengthMs < SHORTEST_MS) {
    throw new InputError(
      `Trace ${path} is ${lengthMs} ms long from its first line to its last. A minute is the least that can be played.`,
    )
  }
  const events = sampled ? eventsOfSamples(lines, gapHoursMax, random) : eventsOfLines(lines)
  return { events: events.map((event) => ({ ...event, ms: event.ms - first.ms })), lengthMs }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw new InputError(
      `Trace ${path} cannot be read (${systemCode(error) ?? error}). A path is relative to the folder of the scenario file.`,
    )
  }
}

function* linesOf(text: string, path: string, sampled: boolean): Generator<Line> {
  let lastMs = Number.NEGATIVE_INFINITY
  for (const [index, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue
    const refuse = (why: string) => new InputError(`Trace ${path}, line ${index + 1}: ${why}`)
    const fields = line.split(',').map((field) => field.trim())
    if (fields.length !== FIELDS || fields.includes('')) {
      throw refuse(`not three fields with commas between them. A line is ${FORMS}.`)
    }
    const ms = sampled ? msOfDate(fields[0]!, fields[1]!) : msOfNumber(fields[0]!)
    if (ms === undefined) {
      const what = sampled
        ? `${fields[0]}, ${fields[1]} is no date and time as 2021-12-31, 23:59:59`
        : `${fields[0]} is no whole number of milliseconds`
      throw refuse(`${what}. A line is ${FORMS}; all lines have the form of the first one.`)
    }
    if (ms < lastMs) {
      throw refuse('its time is earlier than that of the line before. Sort the lines by time.')
    }
    lastMs = ms
    yield { ms, rest: sampled ? fields.slice(2) : fields.slice(1), refuse }
  }
}

function msOfNumber(text: string): number | undefined {
  const ms = Number(text)
  return /^\d+$/.test(text) && Number.isSafeInteger(ms) ? ms : undefined
}

function msOfDate(date: string, time: string): number | undefined {
  const known =
    z.iso.date().safeParse(date).success && z.iso.time({ precision: 0 }).safeParse(time).success
  if (!known) return undefined
  const [year, month, day] = date.split('-').map(Number) as [number, number, number]
  const [hour, minute, second] = time.split(':').map(Number) as [number, number, number]
  return daysUntil(year, month, day) * MS_PER_DAY + ((hour * 60 + minute) * 60 + second) * 1000
}

/** Days from a fixed day, in the Gregorian calendar. Years begin in March here, so a leap day is the last day. */
function daysUntil(year: number, month: number, day: number): number {
  const marches = month > 2 ? year : year - 1
  const sinceMarch = Math.floor((153 * ((month + 9) % 12) + 2) / 5)
  const leapDays = Math.floor(marches / 4) - Math.floor(marches / 100) + Math.floor(marches / 400)
  return 365 * marches + leapDays + sinceMarch + day
}

function eventsOfLines(lines: readonly Line[]): TraceEvent[] {
  const alive = new Set<string>()
  return lines.map(({ ms, rest, refuse }) => {
    const [kind, instance] = rest as [string, string]
    if (kind === 'add') {
      if (alive.has(instance)) throw refuse(`${instance} is added, but it is there already.`)
      alive.add(instance)
      return { ms, kind, instance }
    }
    if (kind === 'remove') {
      if (!alive.delete(instance)) {
        throw refuse(`${instance} is removed, but it is not there: lines before it are missing.`)
      }
      return { ms, kind, instance }
    }
    throw refuse(`unknown event ${kind}. Known are add and remove.`)
  })
}

function eventsOfSamples(
  lines: readonly Line[],
  gapHoursMax: number,
  random: Random,
): TraceEvent[] {
  const events: TraceEvent[] = []
  const alive: string[] = []
  let added = 0
  let lastMs = lines[0]!.ms
  for (const { ms, rest, refuse } of lines) {
    const gapHours = (ms - lastMs) / MS_PER_HOUR
    if (gapHours > gapHoursMax) {
      throw refuse(
        `a gap of ${Number(gapHours.toFixed(4))} hours without a sample before it; gapHoursMax is ${gapHoursMax}. Cut the trace there, or allow a longer gap if nothing happened in it.`,
      )
    }
    lastMs = ms
    const count = Number(rest[0])
    if (!/^\d+$/.test(rest[0]!) || count > COUNT_MAX) {
      throw refuse(`${rest[0]} is no number of instances from 0 to ${COUNT_MAX}.`)
    }
    while (alive.length < count) {
      const instance = String(++added)
      alive.push(instance)
      events.push({ ms, kind: 'add', instance })
    }
    while (alive.length > count) {
      const [instance] = alive.splice(random.integer(alive.length), 1) as [string]
      events.push({ ms, kind: 'remove', instance })
    }
  }
  return events
}
