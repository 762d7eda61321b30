/**
 * `npm run test:field`: faults of real machines and networks, played with real processes on loopback or in network namespaces. Each
 * case prints one line. `--only TEXT` plays the cases whose name contains the text, `--short` leaves out the long ones, `--keep`
 * keeps the journals of cases that pass, `--tries N` plays a case that fails again, and `--list` shows the table.
 */
import { parseArgs } from 'node:util'
import type { FieldCase } from './case.ts'
import { CASES } from './cases.ts'
import { play, type Verdict } from './play.ts'

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    short: { type: 'boolean', default: false },
    tries: { type: 'string', default: '1' },
    keep: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
  },
})

/** Plays a case until it passes, as often as `--tries` says. The line of a case that passed later says why it failed before. */
async function verdictOf(each: FieldCase): Promise<Verdict> {
  if (each.open !== undefined && values.only === '') {
    return { result: 'skipped', seconds: 0, text: `open: ${each.open}` }
  }
  const failures: string[] = []
  for (;;) {
    const verdict = await play(each, values.keep)
    const texts = [verdict.text, ...failures.map((text) => `failed before: ${text}`)]
    failures.push(verdict.text)
    if (verdict.result !== 'failed' || failures.length >= Number(values.tries)) {
      return { ...verdict, text: texts.join('; ') }
    }
  }
}

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
    const { result, seconds, text } = await verdictOf(each)
    counts[result]++
    console.log(
      `${result.padEnd(8)} ${each.name.padEnd(24)} ${seconds.toFixed(0).padStart(4)} s  ${text}`,
    )
  }
  const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : ''
  console.log(`${counts.passed} passed, ${counts.failed} failed${skipped}`)
  process.exitCode = counts.failed > 0 ? 1 : 0
}
