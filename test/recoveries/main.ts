/**
 * `npm run test:recoveries`: a demo with real processes for each strategy and each place of the pipeline. The loss must
 * be back within 2 % of the undisturbed run's before the end. The table lists the number of steps. `--recovery` names
 * strategies, separated by commas, and `--kill-stage` places, separated by blanks.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { createTerminal } from '../../src/base/terminal.ts'
import { type DemoReport, failureOf } from '../../src/cli/demo-report.ts'
import { RECOVERY_NAMES } from '../../src/recovery/index.ts'
import { stepsUntilBack } from './back.ts'

/** Largest difference of the loss, as a share of the undisturbed run's loss. */
const CLOSE = 0.02
const PLACES = ['middle', 'first', 'last', 'ends', '3,4']
/** A model that is smaller than the default, which is enough to observe recoveries. */
const MODEL = ['--hidden', '64', '--intermediate', '176', '--context', '64']
const LIMIT_MS = 300_000

const { values } = parseArgs({
  options: {
    recovery: { type: 'string', default: RECOVERY_NAMES.join(',') },
    'kill-stage': { type: 'string', default: PLACES.join(' ') },
    steps: { type: 'string', default: '120' },
    'kill-step': { type: 'string', default: '40' },
  },
})

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'gensyn-recoveries-'))
const terminal = createTerminal({ json: false })

/** Runs a demo. @throws Error with the end of its output, if its exit code is not 0 */
async function demo(...more: string[]): Promise<DemoReport> {
  const report = join(folder, 'report.json')
  const args = [MAIN, 'demo', ...MODEL, '--steps', values.steps, '--report', report, ...more]
  const child = spawn(process.execPath, args, { timeout: LIMIT_MS })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output = (output + text).slice(-2_000)
    })
  }
  const { promise, resolve, reject } = Promise.withResolvers<number | null>()
  child.on('error', reject).on('close', resolve)
  const code = await promise
  if (code !== 0)
    throw new Error(`gensyn-node demo ${more.join(' ')} ended with ${code}:\n${output}`)
  return JSON.parse(readFileSync(report, 'utf8'))
}

const undisturbed = new Map<boolean, Promise<DemoReport>>()

/** The undisturbed run beside a strategy. Without a loss, only the order of microbatches makes a difference. */
function undisturbedBeside(recovery: string): Promise<DemoReport> {
  const swapped = recovery === 'checkfree+'
  const known = undisturbed.get(swapped)
  if (known !== undefined) return known
  const run = demo('--no-kill', '--recovery', recovery)
  undisturbed.set(swapped, run)
  return run
}

/** Runs one demo. Gives its line of the table, and whether it passed. */
async function trial(recovery: string, place: string): Promise<{ line: string; good: boolean }> {
  const calm = await undisturbedBeside(recovery)
  const kill = ['--kill-stage', place, '--kill-step', values['kill-step']]
  const report = await demo('--recovery', recovery, ...kill)
  const back = stepsUntilBack(report, calm, Number(values['kill-step']), CLOSE)
  const failure = failureOf(report)
  const by = report.recoveries.map(({ stage, strategy, skipped }) => {
    const over = skipped.map((each) => each.strategy).join(', ')
    return `stage ${stage} by ${strategy}${over === '' ? '' : ` (not ${over})`}`
  })
  const last = report.losses.at(-1)!.loss / calm.losses.at(-1)!.loss - 1
  return {
    line: `| ${[
      `\`${recovery}\``,
      `\`${place}\``,
      by.join('; '),
      report.recoveries.map(({ lossAfter }) => lossAfter?.toFixed(4)).join('; '),
      failure ?? (back === null ? 'not back' : `${back}`),
      `${(100 * last).toFixed(2)} %`,
    ].join(' | ')} |`,
    good: failure === null && back !== null,
  }
}

terminal.line(
  '| `--recovery` | `--kill-stage` | recovery | loss of the first step after | steps until within 2 % | at the end |',
)
terminal.line('|---|---|---|---|---|---|')
let good = 0
let all = 0
try {
  for (const recovery of values.recovery.split(',')) {
    for (const place of values['kill-stage'].split(' ')) {
      all++
      try {
        const result = await trial(recovery, place)
        terminal.line(result.line)
        if (result.good) good++
      } catch (error) {
        terminal.line(`| \`${recovery}\` | \`${place}\` | ${(error as Error).message} |`)
      }
    }
  }
} finally {
  rmSync(folder, { recursive: true })
}
terminal.line(`${good} of ${all} are back within ${100 * CLOSE} % of the undisturbed run`)
if (good < all) process.exitCode = 1
