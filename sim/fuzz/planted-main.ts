/**
 * `npm run sim:planted`: prints each planted mistake, and the seed that finds it. Names and invariants choose some of them.
 * With `--short` it looks for a few of them, within few seeds.
 */
import { execFile } from 'node:child_process'
import { parseArgs } from 'node:util'
import { createTerminal } from '../../src/base/terminal.ts'
import { checkPlanted, PLANTED } from './planted.ts'

/** Number of seeds within which each mistake must be found. */
const SEEDS = 2000
const SHORT_SEEDS = 12
/** Invariants whose first mistake the short form looks for. To find a stall (I4) takes long. */
const SHORT = ['I1', 'I2', 'I3', 'I7', 'I9']

const terminal = createTerminal({ json: false })
const { values, positionals: wanted } = parseArgs({
  allowPositionals: true,
  options: { short: { type: 'boolean', default: false } },
})
const seeds = values.short ? SHORT_SEEDS : SEEDS

checkPlanted()
let missed = 0
const rows = Object.entries(PLANTED)
const chosen = rows.filter(isChosen)
for (const [name, { breaks, calamity }] of chosen) {
  const found = await finds(name, calamity)
  if (found === null) missed++
  terminal.line(`${breaks} ${name}: ${found ?? `not found in ${seeds} seeds`}`)
}
terminal.line(`${missed} of ${chosen.length} planted mistakes were not found`)
if (missed > 0) process.exitCode = 1

function isChosen([name, { breaks }]: (typeof rows)[number], place: number): boolean {
  const isFirst = rows.findIndex(([, row]) => row.breaks === breaks) === place
  if (values.short) return isFirst && SHORT.includes(breaks)
  return wanted.length === 0 || wanted.includes(breaks) || wanted.includes(name)
}

/** Output of the fuzzer about the first seed that fails; null if no seed fails. */
function finds(name: string, calamity?: string): Promise<string | null> {
  const at = (file: string) => new URL(file, import.meta.url).pathname
  const args = ['--import', at('./plant.ts'), at('./main.ts'), '--seeds', `${seeds}`, '--first']
  if (calamity !== undefined) args.push('--calamity', calamity)
  const env = { ...process.env, PLANTED: name }
  return new Promise((resolve, reject) => {
    execFile(process.execPath, args, { env }, (_, stdout, stderr) => {
      const found = /^(I\d: .*)\n +npm run sim:fuzz -- (.*)$/m.exec(stdout)
      if (found !== null) resolve(`${found[2]} finds ${found[1]!.slice(0, 120)}`)
      else if (/ 0 violations, 0 stalls/.test(stdout)) resolve(null)
      else reject(new Error(stdout + stderr))
    })
  })
}
