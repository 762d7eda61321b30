/** Draws horizontal bars, one for each strategy, with an error bar and the numbers at the right. */
import { classesOf, type Look } from './look.ts'
import { element, type Markup } from './markup.ts'
import {
  type Area,
  axisOf,
  cut,
  type Figure,
  figure,
  horizontalAxis,
  textWidth,
  WIDTH,
} from './plot.ts'
import { type Scale, ticksWithin } from './scale.ts'

export const ROW = 26
const THICKNESS = 14
const GAP = 8
/** Space above the first row; `BELOW` is the space below the last row, for the axis. */
export const TOP = 6
export const BELOW = 44
/** Largest share of a chart's width that a name or a number takes. */
const MOST_TEXT = 0.32

export interface Bar {
  readonly name: string
  readonly look: Look
  /** Value in the unit of the axis; null if there is nothing to draw, and `text` explains why. */
  readonly value: { readonly mean: number; readonly margin: number | null } | null
  readonly text: string
  /** Draws the bar as an outline only, because the value does not cover all seeds. */
  readonly hollow?: boolean
}

/** @param upTo value that the axis always reaches */
export function barChart(
  about: Omit<Figure, 'height'>,
  bars: readonly Bar[],
  label: string,
  upTo = 0,
): Markup {
  const drawn = bars.filter(({ value }) => value !== null)
  const names = gutter(bars.map(({ name }) => name))
  const numbers = gutter(drawn.map(({ text }) => text))
  const area: Area = {
    left: names,
    right: WIDTH - Math.max(14, numbers),
    top: TOP,
    bottom: TOP + bars.length * ROW,
  }
  // Without any bar the domain would be empty, so it ends at 1.
  const most = Math.max(upTo, widest(drawn)) || 1
  const axis = axisOf(ticksWithin([0, most], 4), [area.left, area.right], label)
  return figure(
    { ...about, height: area.bottom + (drawn.length === 0 ? TOP : BELOW) },
    ...(drawn.length === 0 ? [] : horizontalAxis(axis, area)),
    ...bars.map((bar, i) => row(bar, area, axis.scale, TOP + (i + 0.5) * ROW)),
  )
}

/** Width of the space for texts beside the bars. */
export function gutter(texts: readonly string[]): number {
  const longest = Math.max(0, ...texts.map(textWidth))
  return Math.min(MOST_TEXT * WIDTH, longest + GAP)
}

/**
 * Upper end of the axis: the ends of the error bars, but at most 1.5 times the largest mean.
 * With two seeds an error bar can be ten times as long as its bar and would hide the bars.
 */
function widest(bars: readonly Bar[]): number {
  const means = bars.map(({ value }) => value!.mean)
  const ends = bars.map(({ value }) => value!.mean + (value!.margin ?? 0))
  return Math.min(Math.max(0, ...ends), 1.5 * Math.max(0, ...means))
}

function row(bar: Bar, area: Area, x: Scale, y: number): Markup {
  const { name, look, value, text } = bar
  const label = element(
    'text',
    { class: 'name', x: area.left - GAP, y: y + 4, 'text-anchor': 'end' },
    cut(name, area.left - GAP),
  )
  const title = element('title', {}, `${name}: ${text}`)
  if (value === null) {
    const why = element('text', { class: 'missing', x: area.left + 4, y: y + 4 }, text)
    return element('g', { class: classesOf(look, 'row') }, title, label, why)
  }
  const rect = element('rect', {
    class: bar.hollow === true ? 'bar hollow' : 'bar',
    x: area.left,
    y: y - THICKNESS / 2,
    width: Math.max(0.5, x.at(value.mean) - area.left),
    height: THICKNESS,
  })
  const number = element(
    'text',
    { class: 'number', x: WIDTH - 2, y: y + 4, 'text-anchor': 'end' },
    text,
  )
  const errors = value.margin === null ? [] : errorBar(value.mean, value.margin, area, x, y)
  return element('g', { class: classesOf(look, 'row') }, title, label, rect, ...errors, number)
}

/** Draws an error bar; an end that lies beyond the chart has no cap. */
function errorBar(mean: number, margin: number, area: Area, x: Scale, y: number): Markup[] {
  const ends = [x.at(mean - margin), x.at(mean + margin)]
  const inside = ends.map((end) => Math.min(area.right, Math.max(area.left, end)))
  const caps = ends.filter((end, i) => end === inside[i])
  return [
    element('line', { class: 'error', x1: inside[0]!, x2: inside[1]!, y1: y, y2: y }),
    ...caps.map((end) =>
      element('line', { class: 'error', x1: end, x2: end, y1: y - 4, y2: y + 4 }),
    ),
  ]
}
