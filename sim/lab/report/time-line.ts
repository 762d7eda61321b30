/** Draws losses and recoveries over time under the first seed: a lane for each strategy. */
import type { RecoveryResult, TrialResult } from '../results.ts'
import { BELOW, gutter } from './bars.ts'
import { bytesText, hoursText, listed, significant, timeUnit } from './format.ts'
import { classesOf, type Look, type Looks } from './look.ts'
import { element, type Markup } from './markup.ts'
import { type Area, axisOf, cut, figure, horizontalAxis, WIDE } from './plot.ts'
import { type Scale, ticksWithin } from './scale.ts'
import { RADIUS, swatch } from './swatch.ts'

const LANE = 30
const TOP = 6
/** Most recoveries of a lane that marks show. With more, marks would overlap, so all lanes show counts. */
const MOST_MARKS = 120
/** Width of a column that shows a count. */
const COLUMN = 6

/** @returns null if there was neither a loss nor a recovery */
export function timeLine(trials: readonly TrialResult[], looks: Looks): Markup | null {
  const lanes = [...Map.groupBy(trials, ({ strategy }) => strategy).values()].map(
    ([first, ...others]) =>
      others.reduce((least, each) => (each.seed < least.seed ? each : least), first!),
  )
  const counted = lanes.some(({ recoveries }) => recoveries.length > MOST_MARKS)
  if (lanes.every(({ losses, recoveries }) => losses.length + recoveries.length === 0)) return null
  const longest = Math.max(...lanes.map(({ hours }) => hours))
  const unit = timeUnit(longest)
  const area: Area = {
    left: gutter(lanes.map(({ strategy }) => strategy)),
    right: WIDE - 14,
    top: TOP,
    bottom: TOP + lanes.length * LANE,
  }
  const axis = axisOf(
    ticksWithin([0, longest * unit.perStored], 10),
    [area.left, area.right],
    `virtual time, ${unit.name}`,
  )
  const at = (hours: number) => axis.scale.at(hours * unit.perStored)
  return figure(
    {
      kind: 'time-line',
      title: `Losses and recoveries under seed ${lanes[0]!.seed}`,
      note: `A bar through a lane is the loss of a stage. ${counted ? COUNTED : MARKED} A lane ends with its run. A cross means that the run could not continue.`,
      width: WIDE,
      height: area.bottom + BELOW,
      legend: legendOf(lanes, looks),
    },
    ...horizontalAxis(axis, area),
    ...lanes.map((trial, i) =>
      lane(trial, { counted, looks, area, at, y: TOP + (i + 0.5) * LANE }),
    ),
  )
}

const MARKED = 'A mark is the recovery of a stage, in the colour of the strategy.'
const COUNTED =
  'The height of a column is the number of recovered stages. The colour is that of the strategy that recovered most of these stages.'

interface Lane {
  readonly counted: boolean
  readonly looks: Looks
  readonly area: Area
  readonly at: Scale['at']
  readonly y: number
}

function lane(trial: TrialResult, { counted, looks, area, at, y }: Lane): Markup {
  const { strategy, hours, losses, recoveries, failure } = trial
  const name = element(
    'text',
    { class: 'name', x: area.left - 8, y: y + 4, 'text-anchor': 'end' },
    cut(strategy, area.left - 8),
  )
  const [start, end] = [area.left, at(hours)]
  const columns = new Set(losses.map((loss) => at(loss.hours).toFixed(counted ? 0 : 1)))
  const bars = [...columns].map((x) =>
    element('line', { class: 'loss', x1: x, x2: x, y1: y - 10, y2: y + 10 }),
  )
  return element(
    'g',
    { class: classesOf(looks.get(strategy)!, 'row') },
    name,
    element('line', { class: 'lane', x1: start, x2: end, y1: y, y2: y }),
    ...bars,
    ...(counted
      ? counts(recoveries, looks, at, y)
      : recoveries.map((each) => mark(each, looks.get(each.strategy)!, at(each.hours), y))),
    failure === null ? null : stopped(failure, end, y),
  )
}

function mark(recovery: RecoveryResult, look: Look, x: number, y: number): Markup {
  const title = element('title', {}, wordsOf(recovery))
  // The lane may belong to another strategy, so the legend's switch must not hide this mark.
  const shown = classesOf({ ...look, index: null }, 'mark')
  if (look.round === 0) return element('circle', { class: shown, cx: x, cy: y, r: RADIUS }, title)
  const d = `M${x - RADIUS - 1} ${y}l${RADIUS + 1} ${-RADIUS - 1} ${RADIUS + 1} ${RADIUS + 1} ${-RADIUS - 1} ${RADIUS + 1}Z`
  return element('path', { class: shown, d }, title)
}

/** Columns as high as their number of recoveries, in the colour of the most frequent strategy. */
function counts(
  recoveries: readonly RecoveryResult[],
  looks: Looks,
  at: Scale['at'],
  y: number,
): Markup[] {
  const columns = Map.groupBy(recoveries, ({ hours }) => Math.floor(at(hours) / COLUMN))
  const most = Math.max(...[...columns.values()].map(({ length }) => length))
  return [...columns].map(([column, own]) => {
    const by = [...Map.groupBy(own, ({ strategy }) => strategy)].sort(
      ([, a], [, b]) => b.length - a.length,
    )
    const height = Math.max(2, (own.length / most) * 20)
    const words = by.map(([name, { length }]) => `${length} by ${name}`)
    return element(
      'rect',
      {
        class: classesOf({ ...looks.get(by[0]![0])!, index: null }, 'mark'),
        x: column * COLUMN,
        y: y + 10 - height,
        width: COLUMN - 1,
        height,
      },
      element('title', {}, `from ${hoursText(own[0]!.hours)} on: ${listed(words)}`),
    )
  })
}

/** Cross where a run could not continue. */
function stopped(failure: string, x: number, y: number): Markup {
  const d = `M${x - 5} ${y - 5}l10 10m0 -10l-10 10`
  return element('path', { class: 'stopped', d }, element('title', {}, `ended: ${failure}`))
}

function wordsOf(recovery: RecoveryResult): string {
  const { strategy, stage, iteration, hours, seconds, bytes, stepsLost, weightError, skipped } =
    recovery
  const parts = [
    `stage ${stage} by ${strategy} after iteration ${iteration}, ${hoursText(hours)}`,
    seconds === null ? null : `held again ${significant(seconds)} s after the loss`,
    `${bytesText(bytes)} moved`,
    stepsLost === 0
      ? 'no step lost'
      : `weights ${stepsLost} ${stepsLost === 1 ? 'step' : 'steps'} old`,
    weightError === null ? null : `weights off by ${significant(100 * weightError, 2)} %`,
    recovery.lossBefore === null || recovery.lossAfter === null
      ? null
      : `loss ${significant(recovery.lossBefore, 4)} before, ${significant(recovery.lossAfter, 4)} after`,
    skipped.length === 0 ? null : `${listed(skipped)} could not`,
  ]
  return parts.filter((part) => part !== null).join('; ')
}

function legendOf(lanes: readonly TrialResult[], looks: Looks): Markup {
  const by = Map.groupBy(
    lanes.flatMap(({ recoveries }) => recoveries),
    ({ strategy }) => strategy,
  )
  return element(
    'ul',
    { class: 'key' },
    ...[...by].map(([name, { length }]) =>
      element(
        'li',
        {},
        swatch(looks.get(name)!, 'mark'),
        ` ${name}: ${length} ${length === 1 ? 'recovery' : 'recoveries'}`,
      ),
    ),
  )
}
