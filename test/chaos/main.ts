/**
 * `npm run test:chaos`: real processes on loopback that are killed, frozen and started again at moments of the training.
 * Every step must be committed once, with the loss of an undisturbed run. `--rounds`, `--steps` and `--seed` are numbers.
 * `--fault` draws only this row of faults.ts. `--keep` keeps the journals of passed rounds, too. With `--drains N` peers
 * leave in order instead.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { newRun } from '../../src/cli/init.ts'
import type { Run } from '../../src/run/run.ts'
import { sampleText } from '../fixtures/text.ts'
import { drainAll } from './drains.ts'
import { faultNamed } from './faults.ts'
import { type FaultVerdict, judge } from './judge.ts'
import { undisturbed } from './reference.ts'
import { playRound } from './round.ts'
import { type Swarm, settingsFor } from './swarm.ts'

const PROCESSES = 10
/** Interval of the rounds in which a whole stage is lost. */
const STAGE_LOST_EVERY = 5

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '20' },
    steps: { type: 'string', default: '100' },
    seed: { type: 'string', default: '1' },
    drains: { type: 'string', default: '0' },
    fault: { type: 'string' },
    keep: { type: 'boolean', default: false },
  },
})
const [rounds, steps, seed] = [Number(values.rounds), Number(values.steps), Number(values.seed)]

const drainCount = Number(values.drains)
const only = values.fault === undefined ? undefined : faultNamed(values.fault)

/** The run of all rounds. */
async function runOf(): Promise<Run> {
  const folder = mkdtempSync(join(tmpdir(), 'gensyn-chaos-'))
  const text = join(folder, 'text.txt')
  writeFileSync(text, sampleText())
  const run = await newRun(settingsFor(steps), text, folder)
  rmSync(folder, { recursive: true })
  return run
}

function keepJournals(name: string, swarm: Swarm): string {
  for (const message of swarm.messages) log(message)
  const path = join(tmpdir(), `gensyn-chaos-${name}.jsonl`)
  writeFileSync(path, swarm.entries.map((entry) => `${JSON.stringify(entry)}\n`).join(''))
  return path
}

function log(text: string): void {
  console.log(`  ${text}`)
}

function worst(faults: readonly FaultVerdict[], key: 'noticedMs' | 'onMs', signal?: string) {
  const times = faults.flatMap((fault) =>
    signal === undefined || fault.signal === signal ? (fault[key] ?? []) : [],
  )
  return times.length === 0 ? '-' : (Math.max(...times) / 1000).toFixed(2)
}

async function drains(count: number): Promise<boolean> {
  const { drained, problems, steps, entries, swarm } = await drainAll(count, log)
  const run = { ...swarm.run, steps }
  const reference = await undisturbed(run, steps)
  const verdict = judge({ entries, run, hits: [], exits: [], reference })
  const all = [...problems, ...verdict.problems]
  for (const problem of all) log(`FAILED: ${problem}`)
  if (all.length > 0 || values.keep) log(`journals: ${keepJournals('drains', swarm)}`)
  console.log(`${steps} steps, largest deviation of a loss ${verdict.deviation.toExponential(1)}`)
  console.log(`${drained} of ${count} drained`)
  return drained === count && all.length === 0
}

async function chaos(): Promise<boolean> {
  const reference = await undisturbed(await runOf(), steps)
  const rows: string[] = []
  let passed = 0
  for (let i = 0; i < rounds; i++) {
    const startMs = performance.now()
    const loseStage = (seed + i) % STAGE_LOST_EVERY === 0
    const options = { seed: seed + i, size: PROCESSES, steps, loseStage, only, reference }
    console.log(`round ${seed + i}${loseStage ? ', a stage is lost' : ''}`)
    const { faults, deviation, problems, swarm } = await playRound({ ...options, log })
    if (problems.length === 0) passed++
    for (const problem of problems) log(`FAILED: ${problem}`)
    if (problems.length > 0 || values.keep) {
      const path = keepJournals(String(seed + i), swarm)
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
        ((performance.now() - startMs) / 1000).toFixed(1),
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
  return passed === rounds
}

const good = drainCount > 0 ? await drains(drainCount) : await chaos()
process.exitCode = good ? 0 : 1
