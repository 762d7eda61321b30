/** Timing side by side: the candidates alternate, so that a change of the machine's speed affects all of them. */
import { median } from '../sim/lab/statistics.ts'

/** Time of one call. */
export interface Sample {
  /** Seconds by the clock. */
  readonly wall: number
  /** Seconds of processor time, all threads of this process together. */
  readonly cpu: number
}

async function timed(work: () => Promise<unknown>): Promise<Sample> {
  const begun = performance.now()
  const used = process.cpuUsage()
  await work()
  const { user, system } = process.cpuUsage(used)
  return { wall: (performance.now() - begun) / 1000, cpu: (user + system) / 1e6 }
}

/** The smallest value, from the call that other programs disturbed least. */
export function least(values: readonly number[]): number {
  return Math.min(...values)
}

/**
 * Calls the candidates in turn, `rounds` times each.
 * @returns the samples of each candidate; those of a first, uncounted round are left out
 */
export async function samplesInTurn<Name extends string>(
  rounds: number,
  candidates: Readonly<Record<Name, () => Promise<unknown>>>,
): Promise<Record<Name, Sample[]>> {
  const names = Object.keys(candidates) as Name[]
  const samples = Object.fromEntries(names.map((name) => [name, []])) as unknown as Record<
    Name,
    Sample[]
  >
  for (let round = 0; round <= rounds; round++) {
    for (const name of names) {
      const sample = await timed(candidates[name])
      if (round > 0) samples[name].push(sample)
    }
  }
  return samples
}

/** Seconds by the clock of each candidate: the median of `rounds` calls in turn, unless another statistic is given. */
export async function sideBySide<Name extends string>(
  rounds: number,
  candidates: Readonly<Record<Name, () => Promise<unknown>>>,
  statistic: (values: readonly number[]) => number = median,
): Promise<Record<Name, number>> {
  const samples = await samplesInTurn(rounds, candidates)
  const seconds = Object.entries<Sample[]>(samples).map(([name, own]) => [
    name,
    statistic(own.map(({ wall }) => wall)),
  ])
  return Object.fromEntries(seconds) as Record<Name, number>
}

export function rounded(value: number, digits = 3): number {
  return Number(value.toPrecision(digits))
}
