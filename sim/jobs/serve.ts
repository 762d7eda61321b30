/** The inside of a process that does the jobs that it is given; what starts it is crew.ts. */

/** What such a process says. */
export type Report<Outcome> =
  | { readonly type: 'step'; readonly made: number }
  | { readonly type: 'outcome'; readonly outcome: Outcome }
  | { readonly type: 'failure'; readonly message: string }

/** Steps between two words about how far it is. */
const REPORT_STEPS = 25

/** @param work hears the job, and says how many of its steps are made */
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

  // Nobody is left to be told: its parent was stopped, or has what it wanted.
  process.on('disconnect', () => process.exit())
}
