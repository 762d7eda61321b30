/** Tokens a second of a whole swarm on this machine, as a share of the same training in one process. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../protocols/clock.ts'
import { loadCorpus } from '../src/corpus.ts'
import { demo } from '../src/demo.ts'
import { newRun } from '../src/init.ts'
import type { Run } from '../src/run.ts'
import { createSingleProcess } from './single-process.ts'
import { median, rounded } from './statistics.ts'

const STEPS = 40
/** The first steps fill caches, arenas and connections. */
const WARM_UP = 5

/** @param threads of the one process; each of the swarm's has one */
export async function benchSwarm(threads: number) {
  const folder = mkdtempSync(join(tmpdir(), 'gensyn-bench-'))
  try {
    const settings = { steps: String(STEPS), evaluateEvery: String(10 * STEPS) }
    const run = await newRun(settings, undefined, folder)
    // Before and after, so that a machine that changes its speed does so for both.
    const before = await singleProcess(run, folder, threads)
    const report = await demo(
      {
        settings,
        data: undefined,
        spares: 0,
        kill: false,
        killStage: undefined,
        killStep: undefined,
        reportPath: join(folder, 'report.json'),
      },
      { clock: systemClock, line: () => {}, signal: new AbortController().signal },
    )
    const after = await singleProcess(run, folder, threads)
    if (report.failure !== null) throw new Error(report.failure)
    const single = (before + after) / 2
    return {
      processes: report.processes.length,
      tokensPerSecond: rounded(report.tokensPerSecond),
      singleProcess: { threads, tokensPerSecond: rounded(single) },
      shareOfSingleProcess: rounded(report.tokensPerSecond / single),
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function singleProcess(run: Run, folder: string, threads: number): Promise<number> {
  const corpus = await loadCorpus(run, join(folder, 'run.json'))
  const single = await createSingleProcess(run, corpus, threads)
  const seconds: number[] = []
  for (let step = 1; step <= STEPS / 2; step++) {
    const begun = performance.now()
    await single.step(step)
    if (step > WARM_UP) seconds.push((performance.now() - begun) / 1000)
  }
  await single.close()
  const { batch, context } = run.microbatch
  return (run.microbatches * batch * context) / median(seconds)
}
