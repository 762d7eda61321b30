/**
 * Plays trials in processes side by side. Processes, not threads: threads that are started from TypeScript can bring each
 * other down (stages/thread-start.ts).
 */
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Outcome, Trial } from './trial.ts'
import type { Report } from './worker.ts'

export interface CrewOptions {
  readonly workers: number
  readonly onOutcome: (outcome: Outcome) => void
  /** Hears from time to time how many steps all trials of this crew have made. */
  readonly onSteps: (made: number) => void
}

const WORKER = fileURLToPath(new URL('./worker.ts', import.meta.url))

/**
 * @throws Error naming each trial that failed, after all others were played
 */
export async function playAll(trials: readonly Trial[], options: CrewOptions): Promise<void> {
  const waiting = [...trials]
  const failures: string[] = []
  const made = new Map<Trial, number>()
  const count = (trial: Trial, steps: number) => {
    made.set(trial, steps)
    options.onSteps([...made.values()].reduce((sum, each) => sum + each, 0))
  }
  const employ = async () => {
    for (let trial = waiting.shift(); trial !== undefined; trial = waiting.shift()) {
      const playing = trial
      // A process a trial: what one leaves behind in memory does not weigh on the next. Each has a core to itself: V8's own
      // threads, which look for garbage beside it, would take a fifth of the other's (0.43 s a step instead of 0.36).
      const worker = fork(WORKER, { execArgv: ['--expose-gc', '--single-threaded-gc'] })
      try {
        options.onOutcome(await outcomeOf(worker, playing, (steps) => count(playing, steps)))
        count(playing, playing.steps)
      } catch (error) {
        failures.push(`${JSON.stringify(playing)}: ${(error as Error).message}`)
      }
    }
  }
  await Promise.all(Array.from({ length: options.workers }, employ))
  if (failures.length > 0) throw new Error(`trials that failed:\n${failures.join('\n')}`)
}

function outcomeOf(
  worker: ChildProcess,
  trial: Trial,
  onStep: (made: number) => void,
): Promise<Outcome> {
  const { promise, resolve, reject } = Promise.withResolvers<Outcome>()
  worker.on('error', reject)
  worker.on('exit', (code, signal) => reject(new Error(`its process ended with ${code ?? signal}`)))
  worker.on('message', (report: Report) => {
    switch (report.type) {
      case 'step':
        return onStep(report.made)
      case 'outcome':
        resolve(report.outcome)
        return worker.disconnect()
      case 'failure':
        reject(new Error(report.message))
        return worker.disconnect()
      default:
        report satisfies never
    }
  })
  worker.send(trial)
  return promise
}
