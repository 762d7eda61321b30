/** Assumptions behind the numbers of a scenario, for its readers. Each element is a few sentences. */
import { significant } from './report/format.ts'
import type { Scenario } from './scenario.ts'
import type { LabStrategy } from './strategies.ts'

export function assumptionsOf(scenario: Scenario, strategies: readonly LabStrategy[]): string[] {
  const { mode, network, iterationSeconds, stopAtTarget, targetLoss, setbacks } = scenario
  const said: string[] = []
  if (mode === 'replay') {
    said.push(
      'Nothing was trained: the trials follow a recorded curve of a run without failures. The cost of a loss is stated for each strategy, and not measured. Unless stated otherwise, an iteration takes the same time with every strategy, and a recovery 30 s.',
    )
    for (const [name, iterations] of Object.entries(setbacks)) {
      said.push(`${name}: each loss costs the progress of ${iterations} iterations.`)
    }
  } else if (mode === 'scale') {
    said.push(
      "Nothing was trained: a model of the swarm gives the times, and the node's own functions decide. docs/SCALE.md has the accuracy of the model.",
    )
  } else {
    said.push(
      "Losses are real: the node's own code trained the model. Time is virtual: computation and transfers take the assumed times.",
    )
  }
  if (iterationSeconds !== null && mode === 'learn') {
    said.push(
      `An undisturbed iteration is assumed to take ${iterationSeconds} s. Hours, and failures by the hour, are those of the represented system. Losses come at the end of an iteration. A delay beyond an iteration's usual time counts 1:1, by the node's own messages.`,
    )
  }
  const replayed = strategies.filter(({ replay }) => replay !== null).map(({ name }) => name)
  if (replayed.length > 0 && mode === 'learn') {
    said.push(
      `Computed and not played: ${replayed.join(', ')}. The steps of these strategies are exactly those of the undisturbed run of the same seed. Their times are those of a short run of the node, or are stated.`,
      'With a computed checkpoint, a loss takes back all work since the last checkpoint, parts of an iteration too. A computed run continues after losses that would end a played run. The restart by a person does not count.',
    )
    if (network.regions.length > 1) {
      said.push(
        'In a computed run, a lost stage goes to the spare that joined first. In a played run, the stage goes to a peer of another region than its neighbours. If single peers are lost, the two kinds of runs may lose different stages.',
      )
    }
  }
  for (const { name, along } of strategies) {
    if (along !== null) said.push(`${name} follows the curve of ${along} under the same failures.`)
  }
  for (const { name, stated } of strategies) {
    if (stated === null) continue
    said.push(
      `${name}: an iteration takes ${significant(stated.iterationFactor, 4)} times the time of an undisturbed one, and a recovery ${stated.recoverySeconds} s. Both figures are stated, and not measured.`,
    )
  }
  if (stopAtTarget && targetLoss !== null) {
    said.push(
      'A run ends at the target. Final losses therefore compare only runs that did not reach the target.',
    )
  }
  said.push(
    'All strategies meet the same failures of a seed. Intervals are 95 % intervals over the seeds.',
  )
  return said
}
