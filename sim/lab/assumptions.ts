/** What whoever reads the numbers of a scenario must know, a sentence each. */
import { significant } from './report/format.ts'
import type { Scenario } from './scenario.ts'
import type { LabStrategy } from './strategies.ts'

export function assumptionsOf(scenario: Scenario, strategies: readonly LabStrategy[]): string[] {
  const { mode, network, iterationSeconds, stopAtTarget, targetLoss, setbacks } = scenario
  const said: string[] = []
  if (mode === 'replay') {
    said.push(
      'Nothing was trained: a recorded curve of a run without failures was walked along. What a loss costs a strategy is stated, not learnt; an iteration takes the same with every strategy, and a recovery 30 s, unless stated.',
    )
    for (const [name, iterations] of Object.entries(setbacks)) {
      said.push(`${name}: each loss is taken to cost the progress of ${iterations} iterations.`)
    }
  } else if (mode === 'scale') {
    said.push(
      "Nothing was trained: a model of the swarm, whose decisions are the node's own, says what takes how long; docs/SCALE.md says how far it is off.",
    )
  } else {
    said.push(
      "Losses are real: the node's own code trained the model. Time is virtual: what computation and transfers are said to take.",
    )
  }
  if (iterationSeconds !== null && mode === 'learn') {
    said.push(
      `An undisturbed iteration is said to take ${iterationSeconds} s, so that hours, and failures by the hour, are those of the system that is meant. Losses come at the end of an iteration; what one holds up beyond an iteration's usual time takes the time of the node's own messages.`,
    )
  }
  const replayed = strategies.filter(({ replay }) => replay !== null).map(({ name }) => name)
  if (replayed.length > 0 && mode === 'learn') {
    said.push(
      `${replayed.join(', ')}: computed from the undisturbed run of the same seed, whose steps they make again exactly; their times are those of a short run of the node, or stated.`,
      'Of those, a loss in the middle of an iteration costs a checkpoint what was made since the last one, parts of an iteration too. Where so many are lost at once that a played run ends, they go on: that somebody starts them again is not counted.',
    )
    if (network.regions.length > 1) {
      said.push(
        'For those, a lost stage goes to whichever spare came first; where it is played, to one of another region than its neighbours. Where single peers are lost, other stages may go with them.',
      )
    }
  }
  for (const { name, along } of strategies) {
    if (along !== null) said.push(`${name}: along the curve of ${along} under the same failures.`)
  }
  for (const { name, stated } of strategies) {
    if (stated === null) continue
    said.push(
      `${name}: an iteration is stated to take ${significant(stated.iterationFactor, 4)} times an undisturbed one, a recovery ${stated.recoverySeconds} s.`,
    )
  }
  if (stopAtTarget && targetLoss !== null) {
    said.push('A run ends when the target is reached: final losses compare only where it was not.')
  }
  said.push('All strategies meet the same failures of a seed; intervals are 95 %, over seeds.')
  return said
}
