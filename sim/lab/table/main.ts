/**
 * Implements `npm run sim:strategies`, which compares all recovery strategies under the same failures in one table.
 * The laboratory plays the trials and caches their outcomes, so an interrupted table can continue.
 */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Command } from 'commander'
import { replaceFile } from '../../../src/base/atomic-file.ts'
import { InputError } from '../../../src/base/errors.ts'
import { createTerminal } from '../../../src/base/terminal.ts'
import { Cache } from '../../jobs/cache.ts'
import { Progress } from '../../jobs/progress.ts'
import { outcomesOf } from '../outcomes.ts'
import type { PlayOutcome } from '../play-job.ts'
import { ALL_RATES, CASES } from '../strategies.ts'
import { pageOf } from './page.ts'
import { type Extent, trialsOf } from './plan.ts'
import { keyOf, outcomeOf, taskOfTrial } from './trial.ts'

interface Options {
  readonly cache: string
  readonly workers: string
  readonly only?: string
  readonly seeds?: string
  readonly rates: string
  readonly steps: string
  readonly quick?: true
  readonly cached?: true
  readonly write?: true
}

const QUICK_STEPS = 80
/** Mark in docs/STRATEGIES.md. This program writes the part below the mark. */
const MARK = '<!-- npm run sim:strategies -- --write -->'

const command = new Command('sim:strategies')
  .option('--only <names>', 'these rows alone, beside the undisturbed run')
  .option('--seeds <n,n>', 'seeds of weights, data and failures (default: 1,2,3; quick: 1)')
  .option('--rates <p,p>', 'failures of a stage in an iteration', ALL_RATES.join(','))
  .option('--steps <n>', 'iterations of a run', '1000')
  .option(
    '--quick',
    `a tiny model and ${QUICK_STEPS} iterations: says that it works, not what is better`,
  )
  .option('--workers <n>', 'runs at a time', '2')
  .option('--cache <folder>', 'where finished runs are kept', '.strategies')
  .option('--cached', 'plays nothing: the table of what is in the cache')
  .option('--write', 'puts the table into docs/STRATEGIES.md, below the mark')

const terminal = createTerminal({ json: false })

async function main(options: Options): Promise<void> {
  const extent = extentOf(options)
  let failure: unknown = null
  if (options.cached !== true) {
    const lab = {
      workers: Number(options.workers),
      cache: options.cache,
      progress: (tasks: readonly { steps: number }[]) =>
        new Progress(createTerminal({ json: false, stream: process.stderr }), tasks),
    }
    await outcomesOf(trialsOf(extent).map(taskOfTrial), 'worker', lab).catch((error) => {
      failure = error
    })
  }
  // The table is printed even if a trial has failed, so that the other outcomes are visible.
  const cache = new Cache<PlayOutcome>(options.cache)
  const page = pageOf(extent, {
    get: (trial) => {
      const played = cache.get(keyOf(trial))
      return played && outcomeOf(trial, played)
    },
  })
  terminal.line(page)
  if (options.write === true) writePage(page)
  if (failure !== null) throw failure
}

function extentOf({ only, seeds, rates, steps, quick }: Options): Extent {
  const usual = CASES.filter(({ extra }) => extra === undefined)
  const names = only?.split(',') ?? usual.map(({ name }) => name)
  const cases = names.map((name) => {
    const row = CASES.find((each) => each.name === name)
    if (row !== undefined) return row
    const known = CASES.map((each) => each.name).join(', ')
    throw new InputError(`--only: there is no row ${name}; there are ${known}.`)
  })
  return {
    scale: quick ? 'tiny' : 'full',
    cases,
    seeds: (seeds ?? (quick ? '1' : '1,2,3')).split(',').map(Number),
    rates: rates.split(',').map(Number),
    steps: quick ? QUICK_STEPS : Number(steps),
  }
}

/** Writes the table into docs/STRATEGIES.md and keeps the text above the mark. */
function writePage(page: string): void {
  const path = fileURLToPath(new URL('../../../docs/STRATEGIES.md', import.meta.url))
  const [prose] = readFileSync(path, 'utf8').split(MARK)
  replaceFile(path, `${prose}${MARK}\n\n${page}`)
}

try {
  await main(command.parse().opts<Options>())
} catch (error) {
  terminal.fail(error)
  process.exitCode = 1
}
