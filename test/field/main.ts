/**
 * `npm run test:field`: faults of real machines and networks, played with real processes on loopback or in network namespaces. Each
 * case prints one line. `--only TEXT` plays the cases whose name contains the text, `--short` leaves out the long ones, `--keep`
 * keeps the journals of cases that pass, and `--list` shows the table.
 */
import { parseArgs } from 'node:util'
import { CASES } from './cases.ts'
import { play } from './play.ts'

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    short: { type: 'boolean', default: false },
    keep: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
  },
})

const chosen = CASES.filter(
  ({ name, isLong }) => name.includes(values.only) && !(values.short && isLong),
)
if (chosen.length === 0) {
  console.error(`no case has "${values.only}" in its name; --list shows all cases`)
  process.exitCode = 2
} else if (values.list) {
  for (const { name, isLong, outcome } of chosen) {
    console.log(`${name.padEnd(24)} ${isLong ? 'long ' : 'short'}  ${outcome}`)
  }
} else {
  const counts = { passed: 0, failed: 0, skipped: 0 }
  for (const each of chosen) {
    const { result, seconds, text } = await play(each, values.keep)
    counts[result]++
    console.log(
      `${result.padEnd(8)} ${each.name.padEnd(24)} ${seconds.toFixed(0).padStart(4)} s  ${text}`,
    )
  }
  const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : ''
  console.log(`${counts.passed} passed, ${counts.failed} failed${skipped}`)
  process.exitCode = counts.failed > 0 ? 1 : 0
}
