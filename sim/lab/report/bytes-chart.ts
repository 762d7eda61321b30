/** Draws the bytes of an average iteration: a bar for each strategy, stacked by purpose. */

import type { TrialResult } from '../results.ts'
import { estimate } from '../statistics.ts'
import { BELOW, gutter, ROW, TOP } from './bars.ts'
import { bytesText, byteUnit, significant, type Unit } from './format.ts'
import { classesOf, type Looks } from './look.ts'
import { element, type Markup } from './markup.ts'
import { type Area, axisOf, cut, figure, horizontalAxis, WIDTH } from './plot.ts'
import { type Scale, ticksWithin } from './scale.ts'

const THICKNESS = 14
/** Number of shades in the style sheet; all further purposes share the last shade. */
export const SHADES = 6

interface Stack {
  readonly name: string
  /** Bytes of each purpose. */
  readonly parts: readonly number[]
  readonly total: number
}

/** @returns null if nothing was sent */
export function bytesChart(trials: readonly TrialResult[], looks: Looks): Markup | null {
  const purposes = [
    ...new Set(trials.flatMap(({ bytesPerIteration }) => Object.keys(bytesPerIteration))),
  ]
  const stacks = [...Map.groupBy(trials, ({ strategy }) => strategy)].map(([name, own]) =>
    stackOf(name, own, purposes),
  )
  const most = Math.max(0, ...stacks.map(({ total }) => total))
  if (most === 0) return null
  const unit = byteUnit(most)
  const texts = stacks.map(({ total }) => significant(total * unit.perStored))
  const area: Area = {
    left: gutter(stacks.map(({ name }) => name)),
    right: WIDTH - gutter(texts),
    top: TOP,
    bottom: TOP + stacks.length * ROW,
  }
  const axis = axisOf(
    ticksWithin([0, most * unit.perStored], 4),
    [area.left, area.right],
    `${unit.name} an iteration`,
  )
  const x = axis.scale
  return figure(
    {
      kind: 'bytes',
      title: 'Where the bytes went',
      note: 'Bytes of an average iteration by purpose, as a mean over the seeds.',
      height: area.bottom + BELOW,
      legend: legendOf(purposes),
    },
    ...horizontalAxis(axis, area),
    ...stacks.map((stack, i) =>
      element(
        'g',
        { class: classesOf(looks.get(stack.name)!, 'row') },
        ...row(stack, { purposes, area, x, unit, text: texts[i]!, y: TOP + (i + 0.5) * ROW }),
      ),
    ),
  )
}

function stackOf(name: string, own: readonly TrialResult[], purposes: readonly string[]): Stack {
  const parts = purposes.map(
    (purpose) => estimate(own.map(({ bytesPerIteration }) => bytesPerIteration[purpose] ?? 0)).mean,
  )
  return { name, parts, total: parts.reduce((sum, part) => sum + part, 0) }
}

function row(
  { name, parts }: Stack,
  {
    purposes,
    area,
    x,
    unit,
    text,
    y,
  }: { purposes: readonly string[]; area: Area; x: Scale; unit: Unit; text: string; y: number },
): Markup[] {
  let before = 0
  const rects = parts.map((part, i) => {
    const [from, to] = [before, before + part].map((bytes) => x.at(bytes * unit.perStored))
    before += part
    const place = { x: from!, y: y - THICKNESS / 2, width: to! - from!, height: THICKNESS }
    const title = element('title', {}, `${name}, ${purposes[i]}: ${bytesText(part)}`)
    return element('rect', { class: `part b${shade(i)}`, ...place }, title)
  })
  return [
    element(
      'text',
      { class: 'name', x: area.left - 8, y: y + 4, 'text-anchor': 'end' },
      cut(name, area.left - 8),
    ),
    ...rects,
    element('text', { class: 'number', x: WIDTH - 2, y: y + 4, 'text-anchor': 'end' }, text),
  ]
}

function legendOf(purposes: readonly string[]): Markup {
  return element(
    'ul',
    { class: 'key' },
    ...purposes.map((purpose, i) =>
      element('li', {}, element('i', { class: `b${shade(i)}` }), ` ${purpose}`),
    ),
  )
}

function shade(i: number): number {
  return Math.min(i, SHADES - 1)
}
