/** Draws what all charts share: axes and figures. Lengths are in units of the drawing, not in screen pixels. */
import { type Child, element, type Markup } from './markup.ts'
import { type Scale, scale, type Tick, type Ticks } from './scale.ts'

/** Width of a chart: two stand side by side on a wide screen, one fills a narrow screen. */
export const WIDTH = 480
/** Width of a chart that takes the full width of the page. */
export const WIDE = 1000

/** Average width of a character of the charts' text, with a margin. */
const LETTER = 7.4

/** Estimated width of a text. */
export function textWidth(text: string): number {
  return text.length * LETTER
}

/** Text shortened to the given width, with an ellipsis where something was cut. */
export function cut(text: string, width: number): string {
  const letters = Math.floor(width / LETTER)
  return text.length <= letters ? text : `${text.slice(0, Math.max(1, letters - 1))}…`
}

/** Edges of the part of the drawing that shows data. */
export interface Area {
  readonly left: number
  readonly right: number
  readonly top: number
  readonly bottom: number
}

export interface Axis {
  readonly scale: Scale
  readonly ticks: readonly Tick[]
  readonly label: string
}

/** Axis with these ticks between the two edges of `range`. */
export function axisOf(
  { domain, ticks }: Ticks,
  range: readonly [from: number, to: number],
  label: string,
): Axis {
  return { scale: scale(domain, range), ticks, label }
}

/** Draws the numbers and the label below the area, and vertical grid lines. */
export function horizontalAxis({ scale, ticks, label }: Axis, area: Area): Markup[] {
  const lines = ticks.map(({ value }) => {
    const x = scale.at(value)
    return element('line', { class: 'grid', x1: x, x2: x, y1: area.top, y2: area.bottom })
  })
  const numbers = ticks.map(({ value, label: text }) =>
    element('text', { class: 'tick', x: scale.at(value), y: area.bottom + 17, ...MIDDLE }, text),
  )
  const middle = (area.left + area.right) / 2
  const title = element('text', { class: 'axis', x: middle, y: area.bottom + 36, ...MIDDLE }, label)
  return [...lines, ...numbers, title]
}

/** Draws the numbers at the left, the label above them, and horizontal grid lines. */
export function verticalAxis({ scale, ticks, label }: Axis, area: Area): Markup[] {
  const lines = ticks.map(({ value }) => {
    const y = scale.at(value)
    return element('line', { class: 'grid', x1: area.left, x2: area.right, y1: y, y2: y })
  })
  const numbers = ticks.map(({ value, label: text }) =>
    element(
      'text',
      { class: 'tick', x: area.left - 7, y: scale.at(value) + 4, 'text-anchor': 'end' },
      text,
    ),
  )
  return [...lines, ...numbers, element('text', { class: 'axis', x: 2, y: 15 }, label)]
}

const MIDDLE = { 'text-anchor': 'middle' }

export interface Figure {
  /** Kind of chart, as the attribute `data-chart` names it. */
  readonly kind: string
  readonly title: string
  /** Caption with what a reader needs to know; null if the chart needs none. */
  readonly note: string | null
  readonly width?: number
  readonly height: number
  /** Legend between title and drawing. */
  readonly legend?: Markup
}

/** Figure of a drawing and its title, which is also the label for screen readers. */
export function figure(
  { kind, title, note, width = WIDTH, height, legend }: Figure,
  ...drawing: Child[]
): Markup {
  const svg = element(
    'svg',
    {
      xmlns: 'http://www.w3.org/2000/svg',
      viewBox: `0 0 ${width} ${Math.ceil(height)}`,
      role: 'img',
      'aria-label': title,
    },
    ...drawing,
  )
  return element(
    'figure',
    { class: width === WIDE ? 'wide' : null, 'data-chart': kind },
    element('h4', {}, title),
    legend ?? null,
    element('div', { class: 'drawing' }, svg),
    note === null ? null : element('figcaption', {}, note),
  )
}
