/**
 * Plays a scenario's trials and computes its results. The results depend on the scenario and not on the number of workers.
 */
import { keyOfValue } from '../jobs/key.ts'
import { assumptionsOf } from './assumptions.ts'
import { type Bench, drawsOf, type Mode, shapeOf } from './bench.ts'
import { describeFailure } from './failures/table.ts'
import { learn } from './modes/learn.ts'
import { replay } from './modes/replay.ts'
import { scale } from './modes/scale.ts'
import type { Laboratory } from './outcomes.ts'
import { recommend } from './recommend.ts'
import { recordedCurve } from './recorded-curve.ts'
import type { Results } from './results.ts'
import type { LoadedScenario, Scenario } from './scenario.ts'
import { strategyOf } from './strategies.ts'
import { summarize } from './summary.ts'

const MODES: Readonly<Record<Scenario['mode'], Mode>> = { learn, replay, scale }

/**
 * Plays the trials and gives the results.
 * @throws InputError before anything is played, if a strategy cannot work with the run or a trace is malformed
 */
export async function examine(loaded: LoadedScenario, lab: Laboratory): Promise<Results> {
  const { scenario, folder } = loaded
  const strategies = scenario.strategies.map(strategyOf)
  const bench: Bench = { scenario, folder, lab, shape: await shapeOf(loaded, strategies) }
  const question = {
    bench,
    strategies,
    drawn: (iterationSeconds: number) => drawsOf(bench, iterationSeconds),
    curve: scenario.curve === null ? null : recordedCurve(scenario.curve, folder),
  }
  const mode = MODES[scenario.mode]
  // A malformed trace is refused before anything is played, whatever the duration of an iteration will be.
  mode.check(question, question.drawn(scenario.iterationSeconds ?? 1))
  const trials = await mode.trials(question)
  const { targetLoss } = scenario
  const failures = scenario.failures.map((failure) => ({
    name: failure.name,
    says: describeFailure(failure),
  }))
  return {
    format: 'gensyn-results',
    version: 1,
    scenario: {
      name: scenario.name,
      says: scenario.says,
      hash: keyOfValue(scenario),
      mode: scenario.mode,
    },
    assumptions: assumptionsOf(scenario, strategies),
    targetLoss,
    strategies: strategies.map(({ name, says }) => ({ name, says })),
    failures,
    summary: summarize(trials),
    recommendations: recommend({ failures, trials, targetLoss }),
    claims: [],
    trials,
  }
}
