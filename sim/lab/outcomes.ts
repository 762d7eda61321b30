/** Outcomes of tasks, from the cache or from worker processes that run side by side. */
import { Cache } from '../jobs/cache.ts'
import { doAll, type Job } from '../jobs/crew.ts'

export interface Laboratory {
  readonly workers: number
  /** Folder of the outcomes of earlier tasks. */
  readonly cache: string
  /** Called with the tasks that are not in the cache. The result receives the number of steps made. */
  readonly progress: (tasks: readonly Job[]) => Progressing
}

interface Progressing {
  finished(): void
  steps(made: number): void
}

export interface Task extends Job {
  /** Name of the task in messages. */
  readonly name: string
  /** Cache key. Tasks of the same key have the same outcome. */
  readonly key: string
}

/**
 * Gives the outcomes of tasks in the order of the tasks. Tasks with the same key are done once.
 * @param program name of the worker's module, beside this one
 * @throws Error naming each task that failed, after the outcomes of all others are in the cache
 */
export async function outcomesOf<T extends Task, Outcome>(
  tasks: readonly T[],
  program: string,
  { workers, progress, cache: folder }: Laboratory,
): Promise<Outcome[]> {
  const cache = new Cache<Outcome>(folder)
  const outcomes = new Map<string, Outcome>()
  const missing = new Map<string, T>()
  for (const task of tasks) {
    const known = outcomes.get(task.key) ?? cache.get(task.key)
    if (known === undefined) missing.set(task.key, task)
    else outcomes.set(task.key, known)
  }
  const waiting = [...missing.values()]
  if (waiting.length > 0) {
    const progressing = progress(waiting)
    const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js'
    await doAll<T, Outcome>(waiting, {
      program: new URL(`./${program}${extension}`, import.meta.url),
      workers,
      nameOf: ({ name }) => name,
      onOutcome: ({ key }, outcome) => {
        cache.put(key, outcome)
        outcomes.set(key, outcome)
        progressing.finished()
      },
      onSteps: (made) => progressing.steps(made),
    })
  }
  return tasks.map(({ key }) => outcomes.get(key)!)
}
