/**
 * `npm run test:chaos`: real processes on loopback, killed, frozen and started again by what the swarm has just done.
 * Every step must be made once, and with the losses of an undisturbed run. `--rounds`, `--steps`, `--seed`; `--fault`
 * draws no other row of faults.ts;
 * `--keep` leaves the journals of passed rounds, too.
 */
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { createSingleProcess } from '../../bench/single-process.ts'
import { splitText } from '../../src/corpus.ts'
import { newRun } from '../../src/init.ts'
import { sampleText } from '../fixtures/text.ts'
import { isFault } from './faults.ts'
import type { FaultVerdict } from './judge.ts'
import { playRound } from './round.ts'
import { settingsFor } from './swarm.ts'

const PROCESSES = 10
/** Every so many rounds a whole stage is lost. */
const STAGE_LOST_EVERY = 5

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '20' },
    steps: { type: 'string', default: '100' },
    seed: { type: 'string', default: '1' },
    fault: { type: 'string' },
    keep: { type: 'boolean', default: false },
  },
})
const [rounds, steps, seed] = [Number(values.rounds), Number(values.steps), Number(values.seed)]

const only = values.fault
if (only !== undefined && !isFault(only)) throw new Error(`--fault ${only}: no row of faults.ts`)

/** The losses that nobody disturbs, of one process. */
async function undisturbed(): Promise<number[]> {
  const folder = mkdtempSync(join(tmpdir(), 'gensyn-chaos-'))
  const text = join(folder, 'text.txt')
  writeFileSync(text, sampleText())
  const run = await newRun(settingsFor(steps), text, folder)
  const single = await createSingleProcess(run, splitText(run, Buffer.from(sampleText())), 1)
  const losses: number[] = []
  for (let step = 1; step <= steps; step++) losses.push(await single.step(step))
  await single.close()
  return losses
}

function worst(faults: readonly FaultVerdict[], key: 'noticedMs' | 'onMs', signal?: string) {
  const times = faults.flatMap((fault) =>
    signal === undefined || fault.signal === signal ? (fault[key] ?? []) : [],
  )
  return times.length === 0 ? '-' : (Math.max(...times) / 1000).toFixed(2)
}

const reference = await undisturbed()
const rows: string[] = []
let passed = 0
for (let i = 0; i < rounds; i++) {
  const begun = performance.now()
  const loseStage = (seed + i) % STAGE_LOST_EVERY === 0
  const options = { seed: seed + i, size: PROCESSES, steps, loseStage, only, reference }
  console.log(`round ${seed + i}${loseStage ? ', a stage is lost' : ''}`)
  const log = (text: string) => console.log(`  ${text}`)
  const { faults, deviation, problems, swarm } = await playRound({ ...options, log })
  if (problems.length === 0) passed++
  for (const problem of problems) log(`FAILED: ${problem}`)
  if (problems.length > 0 || values.keep) {
    for (const complaint of swarm.complaints) log(complaint)
    const path = join(tmpdir(), `gensyn-chaos-${seed + i}.jsonl`)
    writeFileSync(path, swarm.entries.map((entry) => `${JSON.stringify(entry)}\n`).join(''))
    log(
      `journals: ${path}; again: npm run test:chaos -- --rounds 1 --steps ${steps} --seed ${seed + i}`,
    )
  }
  rows.push(
    [
      seed + i,
      faults.length,
      worst(faults, 'noticedMs', 'SIGKILL'),
      worst(faults, 'noticedMs', 'SIGSTOP'),
      worst(faults, 'onMs'),
      deviation.toExponential(1),
      ((performance.now() - begun) / 1000).toFixed(1),
      problems.length === 0 ? 'passed' : 'FAILED',
    ]
      .map((cell) => String(cell).padStart(13))
      .join(''),
  )
}
const columns = [
  'round',
  'faults',
  'kill seen s',
  'freeze seen s',
  'next step s',
  'deviation',
  'seconds',
  '',
]
console.log(columns.map((name) => name.padStart(13)).join(''))
for (const row of rows) console.log(row)
console.log(`${passed} of ${rounds} passed`)
process.exitCode = passed === rounds ? 0 : 1
