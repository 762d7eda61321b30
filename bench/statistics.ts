/** Timing side by side: the candidates take turns, so that a machine that changes its speed changes it for all. */
import { median } from '../sim/strategies/statistics.ts'

/** Seconds that one call takes. */
async function timed(work: () => Promise<unknown>): Promise<number> {
  const begun = performance.now()
  await work()
  return (performance.now() - begun) / 1000
}

/** Of work that takes milliseconds: on a busy machine the only figure that others' work is not in. */
export function least(values: readonly number[]): number {
  return Math.min(...values)
}

/** Seconds of each candidate, the median unless told, of `rounds` rounds in turn, after one round that does not count. */
export async function sideBySide<Name extends string>(
  rounds: number,
  candidates: Readonly<Record<Name, () => Promise<unknown>>>,
  statistic: (values: readonly number[]) => number = median,
): Promise<Record<Name, number>> {
  const names = Object.keys(candidates) as Name[]
  const seconds = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<
    Name,
    number[]
  >
  for (let round = 0; round <= rounds; round++) {
    for (const name of names) {
      const taken = await timed(candidates[name])
      if (round > 0) seconds[name].push(taken)
    }
  }
  return Object.fromEntries(names.map((name) => [name, statistic(seconds[name])])) as Record<
    Name,
    number
  >
}

export function rounded(value: number, digits = 3): number {
  return Number(value.toPrecision(digits))
}
