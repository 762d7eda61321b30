/** Assigns each strategy one colour, dash and mark, which all charts share. */
import type { Results } from '../results.ts'

/** Number of colours in the style sheet: `--c0`, `--c1` and so on. */
export const COLOURS = 8

export interface Look {
  /** Number in the class `of-0`, `of-1` .., which a legend's switch hides; null outside the scenario's strategies. */
  readonly index: number | null
  readonly colour: number
  /** Number of times that all colours were used before. From 1 on lines are dashed and marks are diamonds. */
  readonly round: number
}

export type Looks = ReadonlyMap<string, Look>

/** Looks of the scenario's strategies, followed by those of other strategies that recovered stages. */
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

/** CSS classes of an element that shows a strategy; `kind` is the class for the kind of element. */
export function classesOf({ index, colour, round }: Look, kind: string): string {
  return [kind, `c${colour}`, `r${round}`, ...(index === null ? [] : [`of-${index}`])].join(' ')
}
