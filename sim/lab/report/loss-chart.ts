/** Draws the loss on held-out text against hours or iterations: a line and band for each strategy. */
import type { TrialResult } from '../results.ts'
import { type BandPoint, bandOf } from './band.ts'
import { significant, timeUnit } from './format.ts'
import { classesOf, type Looks } from './look.ts'
import { element, type Markup } from './markup.ts'
import { axisOf, figure, horizontalAxis, textWidth, verticalAxis, WIDTH } from './plot.ts'
import { type Scale, type Ticks, ticksAround, ticksWithin } from './scale.ts'

const HEIGHT = 300
const AREA = { left: 48, right: WIDTH - 14, top: 28, bottom: HEIGHT - 44 }

/** Share of the axis whose losses may lie above the chart, because the first losses would flatten all later ones. */
const STEEP = 0.1
/** Space below the lowest line, as a share of the visible range. */
const ROOM = 0.06

interface Line {
  readonly strategy: string
  readonly band: readonly BandPoint[]
}

/**
 * @param clip id of the clipping path, unique on the page
 * @returns null if no trial was evaluated
 */
export function lossChart(
  trials: readonly TrialResult[],
  against: 'hours' | 'iterations',
  { looks, targetLoss, clip }: { looks: Looks; targetLoss: number | null; clip: string },
): Markup | null {
  const longest = Math.max(0, ...trials.flatMap(({ curve }) => curve.map(([, hours]) => hours)))
  const unit = against === 'hours' ? timeUnit(longest) : { name: 'iterations', perStored: 1 }
  const lines = linesOf(trials, against === 'hours' ? 1 : 0, unit.perStored)
  if (lines.length === 0) return null
  const all = lines.flatMap(({ band }) => band)
  const horizontal = axisOf(
    ticksWithin([0, Math.max(...all.map((point) => point.x))]),
    [AREA.left, AREA.right],
    against === 'hours' ? `virtual time, ${unit.name}` : 'iterations',
  )
  const vertical = axisOf(
    verticalTicks(all, targetLoss),
    [AREA.bottom, AREA.top],
    'loss, nats a token',
  )
  const [x, y] = [horizontal.scale, vertical.scale]
  return figure(
    {
      kind: `loss-${against}`,
      title: `Held-out loss against ${against === 'hours' ? 'virtual time' : 'iterations'}`,
      note: noteOf(trials),
      height: HEIGHT,
    },
    element(
      'clipPath',
      { id: clip },
      element('rect', {
        x: AREA.left,
        y: AREA.top,
        width: AREA.right - AREA.left,
        height: AREA.bottom - AREA.top,
      }),
    ),
    ...verticalAxis(vertical, AREA),
    ...horizontalAxis(horizontal, AREA),
    element(
      'g',
      { 'clip-path': `url(#${clip})` },
      ...lines.map((line) => bandPath(line, looks, x, y)),
      ...lines.map((line) => meanPath(line, looks, x, y)),
    ),
    ...(targetLoss === null ? [] : targetLine(targetLoss, y)),
  )
}

function linesOf(trials: readonly TrialResult[], column: 0 | 1, perStored: number): Line[] {
  return [...Map.groupBy(trials, ({ strategy }) => strategy)]
    .map(([strategy, own]) => ({
      strategy,
      band: bandOf(
        own.map(({ curve }) =>
          curve.map((point) => [point[column] * perStored, point[2]] as const),
        ),
      ),
    }))
    .filter(({ band }) => band.length > 0)
}

function noteOf(trials: readonly TrialResult[]): string {
  const seeds = Math.max(
    ...[...Map.groupBy(trials, ({ strategy }) => strategy).values()].map((own) => own.length),
  )
  if (seeds === 1) return 'One seed, so the chart has no band.'
  return `Mean over ${seeds} seeds. The band is the 95 % confidence interval of the mean. A line ends where its first seed ends.`
}

function verticalTicks(all: readonly BandPoint[], targetLoss: number | null): Ticks {
  const last = Math.max(...all.map(({ x }) => x))
  const late = all.filter(({ x }) => x >= STEEP * last).map(({ mean }) => mean)
  const goal = targetLoss === null ? [] : [targetLoss]
  const low = Math.min(...all.map(({ mean }) => mean), ...goal)
  const high = Math.max(...late, ...goal)
  return ticksAround([low - ROOM * (high - low), high])
}

function bandPath({ strategy, band }: Line, looks: Looks, x: Scale, y: Scale): Markup | null {
  if (band.some(({ margin }) => margin === null)) return null
  const upper = band.map((point) => place(x, y, point.x, point.mean + point.margin!))
  const lower = band.map((point) => place(x, y, point.x, point.mean - point.margin!)).reverse()
  const d = `M${[...upper, ...lower].join('L')}Z`
  return element('path', { class: classesOf(looks.get(strategy)!, 'band'), d })
}

function meanPath({ strategy, band }: Line, looks: Looks, x: Scale, y: Scale): Markup {
  const { mean } = band.at(-1)!
  return element(
    'path',
    {
      class: classesOf(looks.get(strategy)!, 'line'),
      d: `M${band.map((point) => place(x, y, point.x, point.mean)).join('L')}`,
    },
    element('title', {}, `${strategy}: ${significant(mean, 4)} at the end of the line`),
  )
}

function place(x: Scale, y: Scale, horizontal: number, vertical: number): string {
  return `${x.at(horizontal).toFixed(1)} ${y.at(vertical).toFixed(1)}`
}

function targetLine(target: number, y: Scale): Markup[] {
  const text = `target ${significant(target)}`
  const at = y.at(target)
  return [
    element('line', { class: 'target', x1: AREA.left, x2: AREA.right, y1: at, y2: at }),
    element(
      'text',
      {
        class: 'tick halo',
        x: AREA.left + 6 + textWidth(text) / 2,
        y: at - 5,
        'text-anchor': 'middle',
      },
      text,
    ),
  ]
}
