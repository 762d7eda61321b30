/** What all charts share: their size, the axes, and the figure around them. All lengths are of the drawing, not of the screen. */
import { type Child, element, type Markup } from './markup.ts'
import { type Scale, scale, type Tick, type Ticks } from './scale.ts'

/** Two charts are beside each other on a desk, one fills a phone. */
export const WIDTH = 480
/** A chart that takes the whole width. */
export const WIDE = 1000

/** Of a letter of the charts' text, on average and with some to spare. */
const LETTER = 7.4

/** Room that a text takes. */
export function textWidth(text: string): number {
  return text.length * LETTER
}

/** As much of a text as there is room for. */
export function cut(text: string, width: number): string {
  const letters = Math.floor(width / LETTER)
  return text.length <= letters ? text : `${text.slice(0, Math.max(1, letters - 1))}…`
}

/** Where the data lie: between these edges. */
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

/** An axis of these ticks between two edges. */
export function axisOf(
  { domain, ticks }: Ticks,
  range: readonly [from: number, to: number],
  label: string,
): Axis {
  return { scale: scale(domain, range), ticks, label }
}

/** Numbers below, the unit at the end, lines upward. */
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

/** Numbers at the left, the unit above them, lines to the right. */
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
  /** What kind of chart it is, for whoever looks for it. */
  readonly kind: string
  readonly title: string
  /** What must be known to read it; null if the chart says all. */
  readonly note: string | null
  readonly width?: number
  readonly height: number
  /** Between title and drawing. */
  readonly legend?: Markup
}

/** A drawing with its title, which is also what a screen reader says of it. */
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
