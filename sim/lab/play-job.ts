/** One trial that is played: a training run of the node's own code under virtual time and failures. */

import { resolve } from 'node:path'
import { HOUR_MS } from '../../protocols/clock.ts'
import type { Entry } from '../../src/base/journal.ts'
import { newRun } from '../../src/cli/init.ts'
import { loadCorpus } from '../../src/data/corpus.ts'
import type { Run, WrittenRecovery } from '../../src/run/run-schema.ts'
import { type Costs, DEFAULT_COSTS, DEFAULT_LINK, type Playing, play } from '../scenario.ts'
import { meterCalls } from '../world/byte-meter.ts'
import type { Link } from '../world/wire.ts'
import type { Calibration } from './calibration/calibration.ts'
import type { Loss } from './failures/loss.ts'
import { Hours } from './hours.ts'
import type { RecoveryResult } from './results.ts'
import type { Scenario } from './scenario.ts'
import { WeightErrors } from './weight-errors.ts'

/** All that the outcome depends on. */
export interface PlayJob {
  /** The most that are made. */
  readonly steps: number
  readonly seed: number
  readonly run: Scenario['run']
  readonly recovery: WrittenRecovery
  /** Of the text; null for the bundled one. */
  readonly data: string | null
  readonly peers: number | null
  readonly network: Scenario['network']
  /** What the peers of one slot after the other are likely to be lost together with; left out: nothing is known. */
  readonly domains?: readonly string[] | undefined
  readonly compute: Scenario['compute']
  /** That all peers share, instead of one each that takes what `compute` says. */
  readonly machine?: Pick<Calibration, 'costMs' | 'cores' | 'messageMs'> | undefined
  /** Seconds of the scenario in one of virtual time, but for what a loss holds up. */
  readonly fold: number
  /** Of an undisturbed one: so long the first is said to have taken, before which the swarm came together. */
  readonly iterationHours: number
  readonly losses: readonly Loss[]
  /**
   * Losses are met at the end of the iteration in which they fall: where one iteration stands for many, what is lost of it
   * would count as many times too much. There they come one after another, as far apart as they fell or when the one before
   * is mended: of the many iterations that are meant, each has had its own.
   */
  readonly atBoundaries: boolean
  /** Ends the run when it is reached; null goes on. */
  readonly targetLoss: number | null
  /** Ends the run, too; null for no limit. */
  readonly hours: number | null
}

/** What is recorded of it, in the scenario's hours. */
export interface PlayOutcome {
  readonly losses: { hours: number; stage: number | null }[]
  readonly recoveries: RecoveryResult[]
  readonly iterations: number
  /** That are not lost again. */
  readonly steps: number
  readonly hours: number
  readonly curve: [iterations: number, hours: number, loss: number][]
  /** Of virtual time, of an average iteration after the first, with whatever held it up. */
  readonly stepSeconds: number
  readonly bytesPerIteration: Record<string, number>
  readonly failure: string | null
}

/** What bytes are for, by the name of the protocol that carries them; all others are the swarm's agreement. */
const PURPOSES: Readonly<Record<string, string>> = {
  microbatch: 'activations',
  keep: 'upkeep',
  study: 'upkeep',
  studied: 'upkeep',
  store: 'checkpoints',
  weights: 'recovery',
  copy: 'recovery',
  gradients: 'replicas',
  learn: 'replicas',
  snapshot: 'replicas',
}

/**
 * @param folder where relative paths begin
 * @throws InputError if the settings make no run
 */
export function runOf(job: PlayJob, folder: string): Promise<Run> {
  const { run, recovery, seed, steps, data } = job
  const given = { ...flat(run), ...flat({ recovery }), seed, steps }
  return newRun({}, data ?? undefined, folder, given)
}

export async function playJob(
  job: PlayJob,
  folder: string,
  onStep: (made: number) => void,
): Promise<PlayOutcome> {
  const run = await runOf(job, folder)
  const losses: PlayOutcome['losses'] = []
  const recoveries: RecoveryResult[] = []
  const curve: PlayOutcome['curve'] = []
  const bytes = new Map<string, number>()
  const count = (purpose: string, more: number) =>
    bytes.set(purpose, (bytes.get(purpose) ?? 0) + more)
  const weightErrors = new WeightErrors()
  let hours!: Hours
  let iterations = 0
  let last = { step: 0, hours: 0, virtualMs: 0, loss: null as number | null }
  let firstMs = 0

  let playing!: Playing
  const empty = new Set<number>()
  /** From a loss until the roster says who holds the stage. */
  let isMending = false
  const strike = (loss: Loss) => {
    const gone = 'stage' in loss ? playing.loseStage(loss.stage) : playing.losePeer(loss.slot)
    if (gone === null) return
    losses.push({ hours: hours.now, stage: gone.stage })
    if (!gone.emptied) return
    empty.add(gone.stage!)
    isMending = true
    hours.lost()
    weightErrors.lost(gone.peer, gone.stage!)
  }
  const disturb = (given: Playing) => {
    playing = given
    hours = new Hours(playing.world, job.fold)
    if (job.atBoundaries) return
    for (const loss of job.losses) hours.at(loss.hours, () => strike(loss))
  }

  const waiting = job.atBoundaries ? [...job.losses] : []
  let unplan = () => {}
  /** Those that are due, the next one when this one is mended, or as long after it as they fell. */
  const strikeDue = () => {
    unplan()
    // Nothing is left to be disturbed.
    if (last.step === run.steps) return
    for (let loss = waiting[0]; loss !== undefined && loss.hours <= hours.now; loss = waiting[0]) {
      waiting.shift()
      strike(loss)
      const [next] = waiting
      if (!isMending || next === undefined) continue
      const since = next.hours <= hours.now ? loss.hours : hours.now
      unplan = playing.world.schedule((next.hours - since) * HOUR_MS, 'another loss', strikeDue)
      return
    }
  }

  const onEntry = (entry: Entry) => {
    if (entry.type === 'step') {
      for (const recovery of recoveries) recovery.lossAfter ??= entry.loss
      iterations++
      if (iterations === 1) hours.begin(job.iterationHours)
      else hours.made()
      last = { step: entry.step, hours: hours.now, virtualMs: entry.at, loss: entry.loss }
      if (iterations === 1) {
        firstMs = entry.at
        bytes.clear()
      }
      onStep(iterations)
      // What is looked at is what was made, as where nothing is lost; then a loss comes.
      if (entry.step % run.evaluation.everySteps !== 0) strikeDue()
    } else if (entry.type === 'evaluation') {
      hours.evaluated()
      curve.push([iterations, hours.now, rounded(entry.loss)])
      strikeDue()
    } else if (entry.type === 'held' && entry.cause !== 'replica') {
      empty.delete(entry.stage)
      const weightError = weightErrors.held(entry.by, entry.stage)
      if (entry.cause !== 'lost') return
      recoveries.push({
        iteration: iterations,
        hours: hours.now,
        stage: entry.stage,
        strategy: entry.strategy,
        skipped: entry.skipped.map(({ strategy }) => strategy),
        seconds: entry.secondsSinceLoss,
        bytes: entry.bytes,
        stepsLost: Math.max(0, last.step - entry.ofStep),
        weightError: weightError === null ? null : rounded(weightError),
        lossBefore: last.loss,
        lossAfter: null,
      })
    } else if (entry.type === 'roster' && isMending && empty.size === 0) {
      isMending = false
      strikeDue()
    }
  }

  const isEnough = (entry: Entry) => {
    if (entry.type === 'evaluation') return job.targetLoss !== null && entry.loss <= job.targetLoss
    return entry.type === 'step' && job.hours !== null && hours.now >= job.hours
  }

  let failure: string | null
  try {
    const history = await play({
      run,
      corpus: await loadCorpus(run, resolve(folder, 'run.json')),
      spares: job.peers === null ? run.spares : job.peers - run.stages - 1,
      deaths: [],
      replaced: true,
      link: DEFAULT_LINK,
      links: linksOf(job.network),
      costMs: job.machine?.costMs ?? costsOf(job.compute),
      cores: job.machine?.cores,
      messageMs: job.machine?.messageMs,
      domainOf: job.domains && ((slot) => job.domains![slot % job.domains!.length]!),
      speedOf: (slot) => job.compute.speeds[slot % job.compute.speeds.length]!,
      limitMs: Number.POSITIVE_INFINITY,
      watch: (peer) =>
        meterCalls(peer, (protocol, more) => {
          // As in /gensyn-node/microbatch/2.0.0.
          count(PURPOSES[protocol.split('/')[2]!] ?? 'agreement', more)
        }),
      wrap: (stage, index, peer) => {
        weightErrors.built(peer, index, stage)
        return stage
      },
      onStored: (more) => count('checkpoints', more),
      disturb,
      onEntry,
      isEnough,
    })
    failure = history.finished?.failure ?? null
  } catch (error) {
    // A swarm that can go no further: its story is told until there.
    failure = (error as Error).message.split('\n')[0]!
  }
  const after = Math.max(1, iterations - 1)
  return {
    losses,
    recoveries,
    iterations,
    steps: last.step,
    hours: last.hours,
    curve,
    stepSeconds: (last.virtualMs - firstMs) / 1000 / after,
    bytesPerIteration: Object.fromEntries(
      [...bytes].filter(([, sum]) => sum > 0).map(([name, sum]) => [name, Math.round(sum / after)]),
    ),
    failure,
  }
}

/** Losses and errors are stated to so many digits: what lies behind them says nothing. */
function rounded(value: number): number {
  return Number(value.toPrecision(8))
}

export function costsOf({
  forwardMs,
  backwardMs,
  endsMs,
  updateMs,
  startMs,
}: Scenario['compute']): Costs {
  return {
    ...DEFAULT_COSTS,
    build: startMs,
    forward: forwardMs,
    forwardKeeping: forwardMs,
    backward: backwardMs,
    lossAndGradient: endsMs,
    loss: endsMs / 2,
    update: updateMs,
  }
}

/** Between the peers of two slots, by their regions. */
function linksOf({ regions, within, between }: Scenario['network']) {
  const link = ({ latencyMs, mbitPerSecond }: typeof within): Link => ({
    latencyMs,
    bytesPerMs: mbitPerSecond * 125,
  })
  const far = (named: (typeof between)[number]): Link =>
    named.shared ? { ...link(named), queue: named.regions.join(' - ') } : link(named)
  const near = link(within)
  const table = regions.map((from) =>
    regions.map((to) => {
      const named = between.find(
        ({ regions: [a, b] }) => (a === from && b === to) || (a === to && b === from),
      )
      return named === undefined ? near : far(named)
    }),
  )
  const { length } = regions
  return (from: number, to: number) => table[from % length]![to % length]!
}

/** `{ model: { layers: 6 } }` as `{ 'model.layers': 6 }`. */
function flat(settings: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(settings).flatMap(([name, value]) => {
      if (typeof value !== 'object' || value === null || Array.isArray(value)) {
        return [[name, value]]
      }
      return Object.entries(value).map(([inner, each]) => [`${name}.${inner}`, each])
    }),
  )
}
