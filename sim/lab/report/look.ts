/** How a strategy looks: the same colour, dash and mark wherever it appears. */
import type { Results } from '../results.ts'

/** Colours of the style sheet, `--c0` and so on. */
export const COLOURS = 8

export interface Look {
  /** Of the classes `of-0`, ..: what a switch of the legend hides; null for what is no strategy of the scenario. */
  readonly index: number | null
  readonly colour: number
  /** How often the colours have been used up before: such lines are dashed, such marks diamonds. */
  readonly round: number
}

export type Looks = ReadonlyMap<string, Look>

/** Of the scenario's strategies, then of whatever else brought stages back. */
export function looksOf({ strategies, trials }: Pick<Results, 'strategies' | 'trials'>): Looks {
  const names = new Set([
    ...strategies.map(({ name }) => name),
    ...trials.map(({ strategy }) => strategy),
  ])
  const known = names.size
  for (const { recoveries } of trials) for (const { strategy } of recoveries) names.add(strategy)
  return new Map(
    [...names].map((name, i) => [
      name,
      {
        index: i < known ? i : null,
        colour: i % COLOURS,
        round: Math.min(2, Math.floor(i / COLOURS)),
      },
    ]),
  )
}

/** Classes of an element that shows a strategy, and of what kind the element is. */
export function classesOf({ index, colour, round }: Look, kind: string): string {
  return [kind, `c${colour}`, `r${round}`, ...(index === null ? [] : [`of-${index}`])].join(' ')
}
