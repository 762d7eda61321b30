/** Outcomes of earlier jobs, with one file for each key of settings. */
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { replaceFile } from '../../src/base/atomic-file.ts'
import { systemCode } from '../../src/base/errors.ts'
import { MACHINE } from '../world/shaken-stage.ts'

export class Cache<Outcome> {
  readonly #folder: string

  constructor(folder: string) {
    // Outcomes of another machine differ from the outcomes of this one.
    this.#folder = MACHINE === null ? folder : join(folder, MACHINE)
    mkdirSync(this.#folder, { recursive: true })
  }

  /** The outcome of a job; undefined if the job has not been done yet. */
  get(key: string): Outcome | undefined {
    try {
      return JSON.parse(readFileSync(this.#pathOf(key), 'utf8'))
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return undefined
      throw error
    }
  }

  put(key: string, outcome: Outcome): void {
    replaceFile(this.#pathOf(key), `${JSON.stringify(outcome)}\n`)
  }

  #pathOf(key: string): string {
    return join(this.#folder, `${key}.json`)
  }
}
