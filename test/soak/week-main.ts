/**
 * `npm run sim:week`: a simulated week of twelve peers with 64 losses, changes of coordinator and three bursts of five. Memory, open
 * descriptors and pending events must be flat after the first hour (flat.ts has the rule), and the journals within their bound. `--hours` plays a shorter time.
 */
import { parseArgs } from 'node:util'
import { judgeBound, judgeFlat, lineOf, QUANTITIES } from './flat.ts'
import { JOURNAL_BYTES, PEERS, playWeek } from './week.ts'

const WEEK_HOURS = 168

const { values } = parseArgs({
  options: {
    hours: { type: 'string', default: String(WEEK_HOURS) },
    losses: { type: 'string', default: '64' },
    bursts: { type: 'string', default: '3' },
    seed: { type: 'string', default: '1' },
    verbose: { type: 'boolean', default: false },
  },
})
const [hours, losses, bursts, seed] = [values.hours, values.losses, values.bursts, values.seed].map(
  Number,
) as [number, number, number, number]

const startMs = performance.now()
const week = await playWeek({
  hours,
  losses,
  bursts,
  seed,
  ...(values.verbose && { onHour: (sample) => console.log(JSON.stringify(sample)) }),
})
console.log(`${''.padEnd(31)}${'first third'.padStart(10)}${'last third'.padStart(11)}`)
let grown = 0
const KEYS = ['heap', 'descriptors', 'timers', 'journal'] as const
for (const key of KEYS) {
  const series = week.samples.map((sample) => ({ hours: sample.hours, value: sample[key] }))
  const rule = { from: 1, slack: QUANTITIES[key].slack }
  const verdict =
    key === 'journal' ? judgeBound(series, rule, PEERS * JOURNAL_BYTES) : judgeFlat(series, rule)
  if (!verdict.isFlat) grown++
  console.log(lineOf('all peers', key, verdict))
}
const seconds = ((performance.now() - startMs) / 1000).toFixed(0)
console.log(
  `${hours} hours of ${PEERS} peers in ${seconds} s: ${week.steps} steps, ${week.lost} processes lost, ${week.successions} changes of coordinator`,
)
console.log(`${KEYS.length - grown} passed, ${grown} failed`)
process.exitCode = grown > 0 ? 1 : 0
