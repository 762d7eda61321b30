/** `gensyn-node sim`: plays one scenario and prints its result. */
import { resolve } from 'node:path'
import { replaceFile } from '../src/base/atomic-file.ts'
import { InputError } from '../src/base/errors.ts'
import type { Terminal } from '../src/base/terminal.ts'
import { type InitOptions, newRun } from '../src/cli/init.ts'
import { reportOf } from '../src/cli/report.ts'
import { loadCorpus } from '../src/data/corpus.ts'
import { RunView } from '../src/node/view.ts'
import { DEFAULT_COSTS, DEFAULT_LIMIT_MS, DEFAULT_LINK, play } from './scenario.ts'

export interface SimOptions {
  readonly settings: InitOptions['settings']
  readonly data?: string | undefined
  readonly spares: number
  readonly kill: boolean
  readonly killStage?: number | undefined
  readonly killStep?: number | undefined
  /** Path of the file that gets the journal of all peers. */
  readonly journal?: string | undefined
}

export async function simulate(options: SimOptions, terminal: Terminal): Promise<void> {
  const { settings, data, spares } = options
  const run = await newRun(settings, data, process.cwd())
  const corpus = await loadCorpus(run, resolve('run.json'))
  const stage = options.killStage ?? Math.ceil(run.stages / 2)
  const step = options.killStep ?? Math.floor(run.steps / 2)
  if (stage < 1 || stage > run.stages) {
    throw new InputError(`--kill-stage ${stage}: the body stages are 1..${run.stages}.`)
  }
  const history = await play({
    run,
    corpus,
    spares,
    deaths: options.kill ? [{ stage, step }] : [],
    replaced: false,
    link: DEFAULT_LINK,
    costMs: DEFAULT_COSTS,
    limitMs: DEFAULT_LIMIT_MS,
  })
  const view = new RunView(run.stages + 1)
  const own = history.entries.filter(({ peer }) => peer === history.entries[0]!.peer)
  for (const entry of own) for (const line of view.show(entry)) terminal.line(line)
  if (options.journal !== undefined) {
    const lines = history.entries.map((entry) => `${JSON.stringify(entry)}\n`)
    replaceFile(options.journal, lines.join(''))
  }
  const report = reportOf(own, run)
  terminal.event({ type: 'report', seed: run.seed, virtualSeconds: history.seconds, ...report })
  terminal.line(`${history.seconds.toFixed(1)} virtual seconds, seed ${run.seed}`)
  if (history.finished?.failure) throw new Error(history.finished.failure)
}
