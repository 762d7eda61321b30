/** Draws the samples of a legend. */
import { classesOf, type Look } from './look.ts'
import { element, type Markup } from './markup.ts'

/** Radius of a mark, in units of the drawing. */
export const RADIUS = 5

/** Sample of a strategy's look, as a line or as a mark. */
export function swatch(look: Look, kind: 'line' | 'mark'): Markup {
  const shown = classesOf({ ...look, index: null }, kind)
  const drawing =
    kind === 'line'
      ? element('path', { class: shown, d: 'M1 7H25' })
      : look.round === 0
        ? element('circle', { class: shown, cx: 7, cy: 7, r: RADIUS })
        : element('path', { class: shown, d: 'M1 7l6 -6 6 6 -6 6Z' })
  const width = kind === 'line' ? 26 : 14
  return element(
    'svg',
    {
      xmlns: 'http://www.w3.org/2000/svg',
      class: 'swatch',
      viewBox: `0 0 ${width} 14`,
      width,
      height: 14,
      'aria-hidden': 'true',
    },
    drawing,
  )
}
