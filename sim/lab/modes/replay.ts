/** The mode `replay`: losses of every strategy come from a recorded curve, and nothing is played. */
import type { Mode } from '../bench.ts'
import { statedTimes, walkedResult } from '../trial-results.ts'

export const replay: Mode = {
  check() {},

  async trials({ bench, strategies, drawn, curve }) {
    const iterationSeconds = bench.scenario.iterationSeconds!
    return drawn(iterationSeconds).flatMap((draw) =>
      strategies.map((strategy) => {
        const times = statedTimes(strategy, iterationSeconds)
        return walkedResult(bench, strategy, draw, curve!, times, iterationSeconds)
      }),
    )
  },
}
