/** The time until a run that lost a stage has the loss of the undisturbed run again. */
import type { RunReport } from '../../src/cli/report.ts'

/** Number of steps in a mean. Few are enough, since both runs train on the same text in the same step. */
const WINDOW = 5

/**
 * Number of steps from the loss of a stage until the mean loss is, and stays, within a share above the
 * undisturbed run's. Steps that are repeated after a rollback count. Null if this does not happen before the end.
 * @param after last step before the loss of the stage
 */
export function stepsUntilBack(
  report: Pick<RunReport, 'losses' | 'stepsGivenUp'>,
  undisturbed: Pick<RunReport, 'losses'>,
  after: number,
  share: number,
): number | null {
  const excess = (last: number) => {
    const mean = ({ losses }: Pick<RunReport, 'losses'>) =>
      losses.slice(last - WINDOW, last).reduce((sum, { loss }) => sum + loss, 0)
    return mean(report) / mean(undisturbed) - 1
  }
  const { length } = report.losses
  let step = length
  while (step >= after + WINDOW && excess(step) <= share) step--
  return step === length ? null : step + 1 - after + report.stepsGivenUp
}
