/** The mode `scale`: stages only take time and train nothing, so that a swarm can have thousands of peers. */
import { jobOf, type Mode } from '../bench.ts'
import { outcomesOf } from '../outcomes.ts'
import { runOf } from '../play-job.ts'
import type { TrialResult } from '../results.ts'
import { type ScaleTask, scaleTaskOf } from '../scale-task.ts'

export const scale: Mode = {
  check() {},

  async trials({ bench, strategies, drawn, curve }) {
    const { scenario, folder, lab, shape } = bench
    const { peers } = shape
    const hours = scenario.budget.hours!
    const tasks: ScaleTask[] = []
    for (const { failures, seed, losses } of drawn(scenario.iterationSeconds ?? 1)) {
      for (const { name: strategy, recovery, replay } of strategies) {
        const run = await runOf(jobOf(scenario, { recovery, seed }), folder)
        const met = replay === 'calm' ? [] : losses
        const trial = { strategy, failures, seed, run, peers, hours, losses: met, curve }
        tasks.push(scaleTaskOf(trial, scenario))
      }
    }
    return outcomesOf<ScaleTask, TrialResult>(tasks, 'scale-worker', lab)
  },
}
