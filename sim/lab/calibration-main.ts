/**
 * `npm run sim:calibration` plays a live swarm, with a process for each stage, and its calibrated simulation. The two must
 * agree on seconds for each step within a bound, and on every loss to the last bit. They must also agree on the recovery
 * of a stage whose holder is killed. The exit code is 1 where they differ. The machine must have no other work.
 */
import { resolve } from 'node:path'
import { Command } from 'commander'
import { systemClock } from '../../protocols/clock.ts'
import type { Entry } from '../../src/base/journal.ts'
import { createTerminal } from '../../src/base/terminal.ts'
import { newRun } from '../../src/cli/init.ts'
import { loadCorpus } from '../../src/data/corpus.ts'
import type { Run } from '../../src/run/run.ts'
import { DEFAULT_LIMIT_MS, type Death, play } from '../scenario.ts'
import { rounded, sentenceOf } from './calibration/bench.ts'
import { calibrate, meanOf } from './calibration/calibrate.ts'
import { type Calibration, writeCalibration } from './calibration/calibration.ts'
import { playLive } from './calibration/live.ts'
import { sameLosses, type Told, toldBy } from './calibration/told.ts'

/** Largest relative difference in seconds for each step. */
const BOUND = 0.15
const STAGES = 6
const KILLED_STAGE = 3
/** Options of each stage, as in the processes of the demo. */
const STAGE_OPTIONS = { provider: 'cpu', threads: 1 } as const

const options = new Command('sim:calibration')
  .option('--hidden <elements>', 'width of the model', '256')
  .option('--steps <n>', 'of each run', '40')
  .option('--warm-up <n>', 'steps whose time does not count', '15')
  .option('--out <file>', 'keep the calibration')
  .parse()
  .opts<{ hidden: string; steps: string; warmUp: string; out?: string }>()

const terminal = createTerminal({ json: false })
const progress = createTerminal({ json: false, stream: process.stderr })
const warmUp = Number(options.warmUp)
const steps = Number(options.steps)
const settings = {
  stages: String(STAGES),
  layers: String(STAGES),
  hidden: options.hidden,
  steps: options.steps,
  evaluateEvery: options.steps,
}

const io = { clock: systemClock, line: () => {}, signal: new AbortController().signal }
const failures: string[] = []

/** Plays the whole history in virtual time. */
async function simulated(
  run: Run,
  { costMs, link, cores, messageMs }: Calibration,
  deaths: readonly Death[],
): Promise<readonly Entry[]> {
  const { entries } = await play({
    run,
    corpus: await loadCorpus(run, resolve('run.json')),
    spares: deaths.length,
    deaths,
    replaced: false,
    link,
    costMs,
    cores,
    messageMs,
    limitMs: DEFAULT_LIMIT_MS,
  })
  return entries
}

function judge(what: string, live: string, simulated: string, holds: boolean): void {
  if (!holds) failures.push(what)
  const row = [what.padEnd(44), live.padEnd(16), simulated.padEnd(16), holds ? 'agrees' : 'DIFFERS']
  terminal.line(row.join(''))
}

function recoveryOf({ recoveries }: Told): string {
  return recoveries.map(({ stage, step, strategy }) => `${stage} at ${step}: ${strategy}`).join()
}

progress.line('calibrating')
const run = await newRun(settings, undefined, process.cwd())
const before = await calibrate(run, STAGE_OPTIONS, systemClock)
progress.line('a live swarm that nothing disturbs')
const live = await playLive({ settings, kill: null }, io)
progress.line('calibrating again')
const calibration = meanOf(before, await calibrate(run, STAGE_OPTIONS, systemClock))
if (options.out !== undefined) writeCalibration(options.out, calibration)
progress.line('its simulation')
const told = toldBy(live.entries, warmUp)
const virtual = toldBy(await simulated(live.run, calibration, []), warmUp)
const kill = { stage: KILLED_STAGE, step: Math.ceil(0.6 * steps) }
progress.line(`a live swarm whose stage ${kill.stage} is killed after step ${kill.step}`)
const struck = await playLive({ settings, kill }, io)
progress.line('its simulation')
const toldStruck = toldBy(struck.entries, warmUp)
const virtualStruck = toldBy(await simulated(struck.run, calibration, [kill]), warmUp)

terminal.line(sentenceOf(calibration))
terminal.line(`${''.padEnd(44)}${'live'.padEnd(16)}simulated`)
const ratio = virtual.secondsAStep / told.secondsAStep
judge(
  `seconds a step (simulated over live ${rounded(ratio)})`,
  rounded(told.secondsAStep),
  rounded(virtual.secondsAStep),
  Math.abs(ratio - 1) <= BOUND,
)
const same = sameLosses(told, virtual)
judge(
  `losses the same to the last bit, of ${steps}`,
  String(told.losses.length),
  String(same),
  same === steps && told.losses.length === steps,
)
judge(
  `stage ${kill.stage} killed after step ${kill.step}, recovered`,
  recoveryOf(toldStruck),
  recoveryOf(virtualStruck),
  toldStruck.recoveries.length === 1 && recoveryOf(toldStruck) === recoveryOf(virtualStruck),
)
const sameStruck = sameLosses(toldStruck, virtualStruck)
judge(
  `losses the same until then, at least ${kill.step}`,
  String(toldStruck.losses.length),
  String(sameStruck),
  sameStruck >= kill.step,
)
if (failures.length > 0) process.exitCode = 1
