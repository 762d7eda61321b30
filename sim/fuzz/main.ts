/** `npm run sim:fuzz`: plays the histories of many seeds on several cores, or prints the story of one seed. */
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { Command } from 'commander'
import { systemClock } from '../../protocols/clock.ts'
import { createTerminal } from '../../src/base/terminal.ts'
import { drawCase } from './case.ts'
import { Play } from './play.ts'
import { storyOf } from './story.ts'
import type { Result } from './worker.ts'

interface Options {
  readonly seeds: string
  readonly from: string
  readonly seed?: string
  /** Name of the calamity that the played histories have; left out: all histories are played. */
  readonly calamity?: string
  readonly workers: string
  /** True to stop at the first seed that fails. */
  readonly first?: true
}

/** Number of seeds in a worker's batch. */
const BATCH = 4
const PROGRESS_SEEDS = 100

const terminal = createTerminal({ json: false })

const { seeds, from, seed, workers, first, calamity } = new Command('sim:fuzz')
  .option('--seeds <n>', 'how many histories', '100')
  .option('--from <seed>', 'the first seed', '1')
  .option('--seed <seed>', 'plays one seed and tells its story')
  .option('--calamity <name>', 'plays only those histories that have it')
  .option('--workers <n>', 'histories at a time', '2')
  .option('--first', 'stops at the first seed that fails')
  .parse()
  .opts<Options>()

if (seed === undefined) await playMany()
else await tell(Number(seed))

async function tell(one: number): Promise<void> {
  const outcome = await new Play(drawCase(one)).run()
  for (const line of storyOf(drawCase(one), outcome)) terminal.line(line)
  if (outcome.violation !== null) process.exitCode = 1
}

async function playMany(): Promise<void> {
  const begun = systemClock.now()
  const last = Number(from) + Number(seeds) - 1
  let next = Number(from)
  const total = { played: 0, violations: 0, stalls: 0, endsLost: 0 }
  const hear = ({ seed, violation, endsLost }: Result) => {
    total.played++
    if (endsLost) total.endsLost++
    if (violation !== null) {
      if (violation.invariant === 'I4') total.stalls++
      else total.violations++
      const [what] = violation.what.split('\n')
      terminal.line(
        `${violation.invariant}: ${what!.slice(0, 400)}\n  npm run sim:fuzz -- --seed ${seed}`,
      )
      if (first === true) next = last + 1
    }
    if (total.played % PROGRESS_SEEDS === 0) terminal.line(`${total.played} of ${seeds} seeds`)
  }
  const batch = () => {
    const given = []
    for (; given.length < BATCH && next <= last; next++) {
      if (calamity === undefined || drawCase(next).calamity?.kind === calamity) given.push(next)
    }
    return given
  }
  await Promise.all(Array.from({ length: Number(workers) }, () => employ(batch, hear)))
  const seconds = Math.round((systemClock.now() - begun) / 1000)
  const { played, violations, stalls, endsLost } = total
  terminal.line(
    `${played} seeds, ${violations} violations, ${stalls} stalls, ${seconds} s (${endsLost} lost every holder of the ends)`,
  )
  if (violations + stalls > 0) process.exitCode = 1
}

/**
 * Lets one worker process play batch after batch until no batch is left. The worker is a process because threads that are
 * started from TypeScript can make each other fail (stages/thread-start.ts).
 */
function employ(batch: () => number[], hear: (result: Result) => void): Promise<void> {
  const worker = fork(fileURLToPath(new URL('./worker.ts', import.meta.url)))
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const give = () => {
    const given = batch()
    if (given.length > 0) return void worker.send(given)
    worker.disconnect()
    resolve()
  }
  worker.on('error', reject)
  worker.on('exit', (code) => reject(new Error(`a worker ended with ${code}`)))
  worker.on('message', (results) => {
    for (const result of results as Result[]) hear(result)
    give()
  })
  give()
  return promise
}
