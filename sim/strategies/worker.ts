/** A process that plays the trials that it is given. */
import { type Outcome, playTrial, type Trial } from './trial.ts'

export type Report =
  | { readonly type: 'step'; readonly made: number }
  | { readonly type: 'outcome'; readonly outcome: Outcome }
  | { readonly type: 'failure'; readonly message: string }

/** Steps between two words about how far it is. */
const REPORT_STEPS = 25

process.on('message', async (trial: Trial) => {
  const tell = (report: Report) => process.send!(report)
  try {
    const outcome = await playTrial(trial, (made) => {
      if (made % REPORT_STEPS === 0) tell({ type: 'step', made })
    })
    tell({ type: 'outcome', outcome })
  } catch (error) {
    tell({ type: 'failure', message: error instanceof Error ? error.message : String(error) })
  }
})

// Nobody is left to be told: its parent was stopped, or has what it wanted.
process.on('disconnect', () => process.exit())
