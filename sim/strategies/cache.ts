/** Outcomes of trials that were played before, a file each under the key of their settings. */
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { replaceFile } from '../../src/atomic-file.ts'
import { systemCode } from '../../src/errors.ts'
import { keyOf, type Outcome, type Trial } from './trial.ts'

export class Cache {
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
    mkdirSync(folder, { recursive: true })
  }

  /** Undefined if it has not been played yet. */
  get(trial: Trial): Outcome | undefined {
    try {
      return JSON.parse(readFileSync(this.#pathOf(trial), 'utf8'))
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return undefined
      throw error
    }
  }

  put(outcome: Outcome): void {
    replaceFile(this.#pathOf(outcome.trial), `${JSON.stringify(outcome)}\n`)
  }

  #pathOf(trial: Trial): string {
    return join(this.#folder, `${keyOf(trial)}.json`)
  }
}
