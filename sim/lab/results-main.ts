/**
 * `npm run sim:results` plays the paper's experiments and writes docs/RESULTS.md. Outcomes of earlier trials come from the
 * cache, so that an interrupted run continues.
 */
import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { Command } from 'commander'
import { replaceFile } from '../../src/base/atomic-file.ts'
import { InputError } from '../../src/base/errors.ts'
import { createTerminal } from '../../src/base/terminal.ts'
import { Progress } from '../jobs/progress.ts'
import { claimsOf, type Evidence } from './claims.ts'
import { examine } from './laboratory.ts'
import type { Laboratory } from './outcomes.ts'
import type { Results } from './results.ts'
import { resultsPage, withStoreless } from './results-page.ts'
import { loadScenario } from './scenario.ts'

interface Options {
  readonly cache: string
  readonly workers: string
  readonly out: string
  readonly seeds?: string
  readonly only?: string
}

const PAGE = fileURLToPath(new URL('../../docs/RESULTS.md', import.meta.url))
/** Marks the generated part of the page. Text above the mark is written by hand and stays. */
const MARK = '<!-- npm run sim:results -->'

const terminal = createTerminal({ json: false })

/** The part of the page that can be played alone, since no claim depends on it. */
const STORELESS = 'storeless'

async function main({ cache, workers, out, seeds, only }: Options): Promise<void> {
  if (only !== undefined && only !== STORELESS) {
    throw new InputError(`--only ${only}: the only part that can be played alone is ${STORELESS}`)
  }
  const lab: Laboratory = {
    workers: Number(workers),
    cache,
    progress: (tasks) => new Progress(terminal, tasks),
  }
  const examined = async (name: string): Promise<Results> => {
    terminal.line(name)
    const set = seeds === undefined ? {} : { seeds: seeds.split(',').map(Number) }
    return examine(loadScenario(name, set), lab)
  }
  const storeless = async () => [
    await examined('paper-bursts-storeless'),
    await examined('paper-spot-storeless'),
  ]
  if (only === STORELESS) {
    replaceFile(out, withStoreless(readFileSync(out, 'utf8'), await storeless()))
    terminal.line(`${out} has the table of strategies without a store`)
    return
  }
  const main = await examined('paper-500m')
  const nothing = {
    ...main,
    failures: [],
    strategies: [],
    summary: [],
    recommendations: [],
    trials: [],
  }
  let evidence: Evidence = {
    main,
    calm: nothing,
    ablation: nothing,
    larger: nothing,
    bursts: nothing,
    spot: nothing,
  }
  write(out, evidence)
  for (const part of ['calm', 'ablation', 'larger', 'bursts', 'spot'] as const) {
    evidence = { ...evidence, [part]: await examined(`paper-${part}`) }
    write(out, evidence)
  }
  write(out, evidence, await storeless())
  terminal.line(`${out} has the tables`)
}

/** Writes the page from the outcomes so far. */
function write(out: string, evidence: Evidence, storeless: readonly Results[] = []): void {
  const page = resultsPage({ ...evidence, storeless, claims: claimsOf(evidence) })
  const [prose] = readFileSync(out, 'utf8').split(MARK)
  replaceFile(out, `${prose}${MARK}\n\n${page}`)
}

const options = new Command('sim:results')
  .option('--cache <folder>', 'where what was played is kept', '.sim-cache')
  .option('--workers <n>', 'runs at a time', String(availableParallelism()))
  .option('--seeds <n,n>', 'instead of those of the scenarios')
  .option('--only <part>', `play and write one part: ${STORELESS}`)
  .option('--out <file>', 'where the tables go, below the mark', PAGE)
  .parse()
  .opts<Options>()

try {
  await main(options)
} catch (error) {
  terminal.fail(error)
  process.exitCode = 1
}
