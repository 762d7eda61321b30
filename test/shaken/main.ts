/**
 * `npm run test:shaken`: all tests of the simulator and its laboratory, once for each of several machines whose last
 * digits differ (sim/world/shaken-stage.ts). `--seeds 5` plays machines 1 to 5, `--seed 3` machine 3 alone; other
 * arguments are files or folders of tests. Exits with 1 if a test fails on any machine.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const { values, positionals } = parseArgs({
  options: { seeds: { type: 'string', default: '5' }, seed: { type: 'string' } },
  allowPositionals: true,
})

const VITEST = fileURLToPath(new URL('../../node_modules/vitest/vitest.mjs', import.meta.url))
const tests = positionals.length > 0 ? positionals : ['test/sim']

/** Longer than that of `npm test`: to move every number takes time, too. */
const TIMEOUT = '--testTimeout=180000'

/** What vitest writes with its JSON reporter, as far as it is read here. */
interface Report {
  readonly numPassedTests: number
  readonly testResults: readonly {
    readonly name: string
    readonly status: string
    readonly message: string
    readonly assertionResults: readonly {
      readonly fullName: string
      readonly status: string
      readonly failureMessages?: readonly string[]
    }[]
  }[]
}

const folder = mkdtempSync(join(tmpdir(), 'gensyn-shaken-'))

async function reportOf(seed: string): Promise<Report> {
  const file = join(folder, `${seed}.json`)
  const args = [VITEST, 'run', ...tests, '--reporter=json', `--outputFile=${file}`, TIMEOUT]
  const env = { ...process.env, GENSYN_SHAKE_SEED: seed }
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'ignore', 'inherit'] })
  const { promise, resolve, reject } = Promise.withResolvers<unknown>()
  child.on('error', reject).on('close', resolve)
  await promise
  return JSON.parse(readFileSync(file, 'utf8'))
}

/** A file that breaks before its first test fails as one. */
function failuresOf({ testResults }: Report): string[] {
  return testResults.flatMap(({ name, status, message, assertionResults }) => {
    const failed = assertionResults.filter((each) => each.status === 'failed')
    if (failed.length === 0) return status === 'failed' ? [`${name}: ${message}`] : []
    return failed.map(({ fullName, failureMessages }) => {
      const [why = ''] = failureMessages?.[0]?.split('\n') ?? []
      return `${name}: ${fullName}\n    ${why}`
    })
  })
}

const seeds =
  values.seed === undefined
    ? Array.from({ length: Number(values.seeds) }, (_, i) => `${i + 1}`)
    : [values.seed]
if (seeds.length === 0) throw new Error(`--seeds ${values.seeds}: at least 1 is needed`)

const count = { passed: 0, failed: 0 }
try {
  for (const seed of seeds) {
    const report = await reportOf(seed)
    const failures = failuresOf(report)
    count.passed += report.numPassedTests
    count.failed += failures.length
    console.log(`machine ${seed}: ${report.numPassedTests} passed, ${failures.length} failed`)
    for (const failure of failures) console.log(`  ${failure}`)
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
console.log(`${count.passed} passed, ${count.failed} failed`)
if (count.failed > 0 || count.passed === 0) process.exitCode = 1
