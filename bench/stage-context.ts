/**
 * `npm run bench:context`: the longest context that a process can train within a bound of resident memory, with attention and
 * head streamed and whole. The memory plan predicts the context, and measured peaks correct the plan. The program prints the
 * longest context that fits and the shortest that does not, both measured. Each try is a process, with a line on the standard
 * error. Exits with 1 if the streamed context is less than 2.5 times the whole one. The ratio is one of memory, and does not
 * depend on the speed of the machine.
 */
import { execFileSync } from 'node:child_process'
import type { Limits } from '../stages/chunks.ts'
import { planMemory } from '../stages/memory-plan.ts'
import { configOf, STREAMED, THREADS, train, WHOLE } from './stage-peak.ts'
import { rounded } from './statistics.ts'

const MEBIBYTE = 2 ** 20
const BOUND_MEGABYTES = 2048
const RATIO_MIN = 2.5
/** Ends a try that hangs. No bound on speed: two quiet cores need 30 s for the longest try. */
const TRY_SECONDS = 900

interface Way {
  readonly limits: Limits
  /** Contexts are multiples of this. */
  readonly step: number
  readonly longest: number
}

const WAYS: Readonly<Record<'whole' | 'streamed', Way>> = {
  whole: { limits: WHOLE, step: 512, longest: 32_768 },
  streamed: { limits: STREAMED, step: 4096, longest: 65_536 },
}
type How = keyof typeof WAYS

const KINDS = { ends: 0, body: 1 } as const
type Kind = keyof typeof KINDS

/** Peak memory of a process that trains one stage on one sequence, in MiB; infinite if the process failed. */
function peakOf(how: How, kind: Kind, context: number): number {
  const args = [import.meta.filename, how, kind, String(context)]
  // Without a limit a context that is far too long would take all memory of the machine.
  const limit = `ulimit -v ${(BOUND_MEGABYTES * 4 + 8192) * 1024}; exec "$0" "$@"`
  const begun = performance.now()
  let peak = Number.POSITIVE_INFINITY
  try {
    const text = execFileSync('sh', ['-c', limit, process.execPath, ...args], {
      encoding: 'utf8',
      timeout: TRY_SECONDS * 1000,
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    peak = Number(text)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ETIMEDOUT') {
      throw new Error(`${how} ${kind} of ${context} tokens took over ${TRY_SECONDS} s`)
    }
  }
  const seconds = rounded((performance.now() - begun) / 1000, 2)
  console.error(`${how} ${kind}, ${context} tokens: ${Math.round(peak)} MiB, ${seconds} s`)
  return peak
}

/**
 * Binary search for the largest i of `from`..`to` - 1 for which `holds` is true; `from` - 1 if there is none. `holds` must be
 * true for all smaller i.
 */
function last(from: number, to: number, holds: (i: number) => boolean): number {
  let [good, bad] = [from - 1, to]
  while (bad - good > 1) {
    const middle = (good + bad) >> 1
    if (holds(middle)) good = middle
    else bad = middle
  }
  return good
}

function longest(how: How) {
  const { limits, step, longest: most } = WAYS[how]
  /** Ratio of measured to planned memory in the last try. */
  const correction = { ends: 1, body: 1 }
  const plans = new Map<string, number>()
  const planned = (kind: Kind, i: number) => {
    const key = `${kind} ${i}`
    const options = { threads: THREADS, microbatches: 1, limits }
    const plan = plans.get(key) ?? planMemory(configOf(i * step), KINDS[kind], options).peak
    plans.set(key, plan)
    return plan / MEBIBYTE
  }
  const expected = (kind: Kind, i: number) => correction[kind] * planned(kind, i)
  const measure = (i: number) => {
    let peak = 0
    const kinds = Object.keys(KINDS) as Kind[]
    for (const kind of kinds.sort((a, b) => expected(b, i) - expected(a, i))) {
      const own = peakOf(how, kind, i * step)
      if (Number.isFinite(own)) correction[kind] = own / planned(kind, i)
      peak = Math.max(peak, own)
      if (peak > BOUND_MEGABYTES) break
    }
    return peak
  }
  const fits = (i: number) =>
    (Object.keys(KINDS) as Kind[]).every((kind) => expected(kind, i) <= BOUND_MEGABYTES)

  let [good, bad] = [0, most / step + 1]
  let [peakMegabytes, nextMegabytes] = [0, Number.POSITIVE_INFINITY]
  while (bad - good > 1) {
    // The longest context that should fit, or the next longer one if that one is known to fit.
    const next = Math.min(Math.max(last(good + 1, bad, fits), good + 1), bad - 1)
    const peak = measure(next)
    if (peak <= BOUND_MEGABYTES) [good, peakMegabytes] = [next, peak]
    else [bad, nextMegabytes] = [next, peak]
  }
  return {
    context: good * step,
    peakMegabytes: Math.round(peakMegabytes),
    next: bad * step,
    nextMegabytes: Math.round(nextMegabytes),
  }
}

const [, , how, kind, context] = process.argv
if (how !== undefined) {
  const config = configOf(Number(context))
  await train(config, KINDS[kind as Kind], WAYS[how as How].limits, 1)
  // maxRSS is in kilobytes on all systems.
  console.log(process.resourceUsage().maxRSS / 1024)
} else {
  const [whole, streamed] = [longest('whole'), longest('streamed')]
  const ratio = rounded(streamed.context / whole.context)
  const passed = ratio >= RATIO_MIN
  console.log(
    JSON.stringify({ boundMegabytes: BOUND_MEGABYTES, whole, streamed, ratio, passed }, null, 2),
  )
  if (!passed) process.exitCode = 1
}
