/**
 * Does jobs in processes side by side. Threads are not used, since threads that are started from TypeScript can make each
 * other fail (stages/thread-start.ts).
 */
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Report } from './serve.ts'

/**
 * Options of V8 that give each worker one core. The collector's own threads would take time from other workers. The heap
 * may grow to 400 MiB before the first full collection.
 */
const FLAGS = ['--expose-gc', '--single-threaded-gc', '--initial-heap-size=400']

export interface Job {
  /** Number of steps of the job, which is its length relative to other jobs. */
  readonly steps: number
}

export interface CrewOptions<J extends Job, Outcome> {
  /** Program of a worker, which calls `serve`. */
  readonly program: URL
  readonly workers: number
  /** Name of the job in messages about its failure. */
  readonly nameOf: (job: J) => string
  readonly onOutcome: (job: J, outcome: Outcome) => void
  /** Called from time to time with the number of steps that all jobs of this crew have made. */
  readonly onSteps: (made: number) => void
}

/** Does all jobs and gives their outcomes. @throws Error naming each job that failed, after all others are done */
export async function doAll<J extends Job, Outcome>(
  jobs: readonly J[],
  { program, workers, nameOf, onOutcome, onSteps }: CrewOptions<J, Outcome>,
): Promise<void> {
  const waiting = [...jobs]
  const failures: string[] = []
  const made = new Map<J, number>()
  const count = (job: J, steps: number) => {
    made.set(job, steps)
    onSteps([...made.values()].reduce((sum, each) => sum + each, 0))
  }
  const employ = async () => {
    for (let job = waiting.shift(); job !== undefined; job = waiting.shift()) {
      const doing = job
      // Each job has its own process, so that memory left by one job does not affect the next.
      const worker = fork(fileURLToPath(program), { execArgv: FLAGS })
      try {
        onOutcome(doing, await outcomeOf<J, Outcome>(worker, doing, (steps) => count(doing, steps)))
        count(doing, doing.steps)
      } catch (error) {
        failures.push(`${nameOf(doing)}: ${(error as Error).message}`)
      }
    }
  }
  await Promise.all(Array.from({ length: workers }, employ))
  if (failures.length > 0) throw new Error(`runs that failed:\n${failures.join('\n')}`)
}

function outcomeOf<J extends Job, Outcome>(
  worker: ChildProcess,
  job: J,
  onStep: (made: number) => void,
): Promise<Outcome> {
  const { promise, resolve, reject } = Promise.withResolvers<Outcome>()
  worker.on('error', reject)
  worker.on('exit', (code, signal) => reject(new Error(`its process ended with ${code ?? signal}`)))
  worker.on('message', (report: Report<Outcome>) => {
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
  worker.send(job)
  return promise
}
