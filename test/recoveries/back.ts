/** When a run that lost a stage is where the undisturbed one is. */
import type { RunReport } from '../../src/cli/report.ts'

/** Losses of single steps are noisy; both runs see the same text in the same step, so that few are enough. */
const WINDOW = 5

/**
 * Steps from the loss until the mean loss of a window is, and from then on stays, no more than a share above that of the
 * undisturbed run; those that are made again after a rollback count. Null if that does not happen before the end.
 * @param after the last step before the loss
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
