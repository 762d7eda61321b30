/** A trial of the mode `scale` in the form that goes to a worker, with its name in the cache. */
import type { Run } from '../../src/run/run.ts'
import { keyOfValue } from '../jobs/key.ts'
import type { Loss } from './failures/loss.ts'
import { costsOf } from './job-settings.ts'
import type { Task } from './outcomes.ts'
import { type ScaleNetwork, type ScaleSetting, sizesOf } from './scale/setting.ts'
import type { Scenario } from './scenario.ts'
import type { Point } from './statistics.ts'

/** Version of outcomes. Raise it when trials with the same settings give other outcomes than before. */
const VERSION = 3

export interface ScaleTask extends Task {
  readonly setting: ScaleSetting
}

export interface ScaleTrial {
  readonly strategy: string
  readonly failures: string
  readonly seed: number
  readonly run: Run
  readonly peers: number
  readonly hours: number
  readonly losses: readonly Loss[]
  /** Held-out loss of a run without failures; null if there is none. */
  readonly curve: readonly Point[] | null
}

export function scaleTaskOf({ curve, ...trial }: ScaleTrial, scenario: Scenario): ScaleTask {
  const { network, compute } = scenario
  const setting: ScaleSetting = {
    ...trial,
    network: wholeNetwork(network),
    store: network.within,
    costMs: costsOf(compute),
    speeds: compute.speeds,
    sizes: sizesOf(trial.run),
    replacementSeconds: 0,
    undisturbed: curve,
  }
  const { strategy, failures, seed, hours: steps } = trial
  const name = `${strategy}; ${failures}; seed ${seed}`
  return { steps, name, setting, key: keyOfValue({ VERSION, ...setting }) }
}

/** Makes a link for every pair of regions. */
function wholeNetwork({ regions, within, between }: Scenario['network']): ScaleNetwork {
  const pairs = regions.flatMap((a, i) => regions.slice(i + 1).map((b): [string, string] => [a, b]))
  return {
    regions,
    within,
    between: pairs.map(([a, b]) => {
      const named = between.find(({ regions }) => regions.includes(a) && regions.includes(b))
      return named ?? { ...within, regions: [a, b] }
    }),
  }
}
