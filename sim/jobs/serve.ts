/** The inside of a worker process that does jobs. The module crew.ts starts the process. */

/** Messages from the worker process to its parent. */
export type Report<Outcome> =
  | { readonly type: 'step'; readonly made: number }
  | { readonly type: 'outcome'; readonly outcome: Outcome }
  | { readonly type: 'failure'; readonly message: string }

/** Number of steps between two progress messages. */
const REPORT_STEPS = 25

/** @param work does a job, and reports how many of its steps are made */
export function serve<Job, Outcome>(
  work: (job: Job, onStep: (made: number) => void) => Promise<Outcome>,
): void {
  process.on('message', async (job: Job) => {
    const tell = (report: Report<Outcome>) => process.send!(report)
    try {
      const outcome = await work(job, (made) => {
        if (made % REPORT_STEPS === 0) tell({ type: 'step', made })
      })
      tell({ type: 'outcome', outcome })
    } catch (error) {
      tell({ type: 'failure', message: error instanceof Error ? error.message : String(error) })
    }
  })

  // The parent was stopped or needs nothing more, so the process ends.
  process.on('disconnect', () => process.exit())
}
