/**
 * `npm run bench:context`: the longest context that a process of so much resident memory can train, with attention and
 * head streamed and whole. A process for each try; a context counts if its peak stays within the bound.
 */
import { execFileSync } from 'node:child_process'
import { configOf, STREAMED, train, WHOLE } from './stage-peak.ts'
import { rounded } from './statistics.ts'

const BOUND_MEGABYTES = Number(process.argv[3] ?? 2048)
/** Contexts are multiples of this. */
const STEP = 1024
const LONGEST = 64 * STEP

/** Peak of a process that trains both kinds of stage on one sequence, MB; infinite if it did not live to tell. */
function peakOf(how: string, context: number): number {
  const args = [import.meta.filename, how, String(context)]
  try {
    // A whole stage of a context far too long would take all of the machine's memory.
    const limit = `ulimit -v ${(BOUND_MEGABYTES * 4 + 8192) * 1024}; exec "$0" "$@"`
    const text = execFileSync('sh', ['-c', limit, process.execPath, ...args], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    return JSON.parse(text).peakMegabytes
  } catch {
    return Number.POSITIVE_INFINITY
  }
}

/** By halves: memory grows with the context. */
function longest(how: string): { context: number; peakMegabytes: number } {
  let [fits, fails] = [0, LONGEST / STEP + 1]
  let peakMegabytes = 0
  while (fails - fits > 1) {
    const middle = fits === 0 ? Math.min(4, fails - 1) : Math.min(2 * fits, (fits + fails) >> 1)
    const peak = peakOf(how, middle * STEP)
    if (peak <= BOUND_MEGABYTES) [fits, peakMegabytes] = [middle, peak]
    else fails = middle
  }
  return { context: fits * STEP, peakMegabytes: rounded(peakMegabytes) }
}

const [, , how, context] = process.argv
if (how === 'whole' || how === 'streamed') {
  const limits = how === 'whole' ? WHOLE : STREAMED
  const of = configOf(Number(context))
  for (const stage of [0, 1] as const) await train(of, stage, limits)
  console.log(JSON.stringify({ peakMegabytes: process.resourceUsage().maxRSS / 1024 }))
} else {
  const [whole, streamed] = [longest('whole'), longest('streamed')]
  const ratio = rounded(streamed.context / whole.context)
  console.log(JSON.stringify({ boundMegabytes: BOUND_MEGABYTES, whole, streamed, ratio }, null, 2))
  if (ratio < 2.5) process.exitCode = 1
}
