/** Plays one trial: a training run of the node's own code under virtual time and failures. */
import { resolve } from 'node:path'
import { HOUR_MS } from '../../protocols/clock.ts'
import type { Entry } from '../../src/base/journal.ts'
import { newRun } from '../../src/cli/init.ts'
import { loadCorpus } from '../../src/data/corpus.ts'
import type { Run, WrittenRecovery } from '../../src/run/run-schema.ts'
import { DEFAULT_LINK, type Death, type History, type Playing, play } from '../scenario.ts'
import { meterCalls } from '../world/byte-meter.ts'
import type { Calibration } from './calibration/calibration.ts'
import type { Loss } from './failures/loss.ts'
import { Hours } from './hours.ts'
import { costsOf, flat, linksOf } from './job-settings.ts'
import { type ProcessCosts, ProcessMeter } from './process-meter.ts'
import type { RecoveryResult } from './results.ts'
import type { Scenario } from './scenario.ts'
import type { Point } from './statistics.ts'
import { WeightErrors } from './weight-errors.ts'

/** Settings of a trial, on which its outcome depends. */
export interface PlayJob {
  /** Most steps that the trial makes. */
  readonly steps: number
  readonly seed: number
  readonly run: Scenario['run']
  readonly recovery: WrittenRecovery
  /** Path of the text; null for the bundled text. */
  readonly data: string | null
  /** Number of peers; null for one holder of each stage, the ends and the run's spares. */
  readonly peers: number | null
  readonly network: Scenario['network']
  /** Failure domains of the slots, in turn; unknown if left out. */
  readonly domains?: readonly string[] | undefined
  readonly compute: Scenario['compute']
  /** One machine that all peers share. If left out, each peer has its own machine with the costs in `compute`. */
  readonly machine?: Pick<Calibration, 'costMs' | 'cores' | 'messageMs'> | undefined
  /** Seconds of the scenario in one second of virtual time, except while a recovery delays the swarm. */
  readonly fold: number
  /** Hours of an undisturbed iteration. The first iteration counts as many hours, although the swarm forms before it. */
  readonly iterationHours: number
  readonly losses: readonly Loss[]
  /**
   * True if a loss waits for the end of its iteration. Where one iteration stands for many, a loss within an iteration
   * would cost many times too much. Two losses keep the time between them, or the second loss waits for the recovery from
   * the first. The reason is that each of the many iterations would have its own recovery.
   */
  readonly atBoundaries: boolean
  /** Held-out loss that ends the run; null for no target. */
  readonly targetLoss: number | null
  /** Hours that end the run; null for no limit. */
  readonly hours: number | null
  /** Losses right after given steps, for trials that count steps instead of hours. */
  readonly deaths?: readonly Death[]
  /** Records the fields of {@link Details}. A failed run is then an error; otherwise a failed run has an outcome. */
  readonly detailed?: true
}

/** Measurements of a trial, in the scenario's hours. */
export interface PlayOutcome {
  readonly losses: { hours: number; stage: number | null }[]
  readonly recoveries: RecoveryResult[]
  readonly iterations: number
  /** Number of steps that no rollback discards. */
  readonly steps: number
  readonly hours: number
  readonly curve: [iterations: number, hours: number, loss: number][]
  /** Mean virtual seconds of an iteration after the first one, with all delays. */
  readonly stepSeconds: number
  readonly bytesPerIteration: Record<string, number>
  readonly failure: string | null
  readonly details?: Details
}

interface Details {
  /** Training loss of each step, in the order in which the steps were made. */
  readonly training: readonly Point[]
  /** Held-out loss by steps. */
  readonly validation: readonly Point[]
  readonly costs: ProcessCosts
}

/** Purposes of bytes, by the name of the protocol that carries them. All other protocols serve the swarm's agreement. */
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
 * Makes the run of a trial.
 * @param folder where relative paths begin
 * @throws InputError if the settings make no valid run
 */
export function runOf(job: PlayJob, folder: string): Promise<Run> {
  const { run, recovery, seed, steps, data } = job
  const given = { ...flat(run), ...flat({ recovery }), seed, steps }
  return newRun({}, data ?? undefined, folder, given)
}

/**
 * Plays a trial to its end.
 * @param onStep receives the number of steps made
 * @throws Error if a detailed run fails
 */
export async function playJob(
  job: PlayJob,
  folder: string,
  onStep: (made: number) => void,
): Promise<PlayOutcome> {
  const run = await runOf(job, folder)
  const corpus = await loadCorpus(run, resolve(folder, 'run.json'))
  return new JobPlay(job, run, onStep).outcome(corpus)
}

class JobPlay {
  readonly #job: PlayJob
  readonly #run: Run
  readonly #onStep: (made: number) => void
  readonly #losses: PlayOutcome['losses'] = []
  readonly #recoveries: RecoveryResult[] = []
  readonly #curve: PlayOutcome['curve'] = []
  readonly #bytes = new Map<string, number>()
  readonly #weightErrors = new WeightErrors()
  readonly #meter: ProcessMeter | null
  #playing!: Playing
  #hours!: Hours
  #iterations = 0
  #last = { step: 0, hours: 0, virtualMs: 0, loss: null as number | null }
  /** Virtual time at which the first iteration ended. */
  #firstMs = 0
  /** Stages without a holder. */
  readonly #empty = new Set<number>()
  /** True from a loss until a roster names a holder of the stage. */
  #isMending = false
  /** Losses that wait for the end of an iteration, in order. */
  readonly #waiting: Loss[]
  #unplan = () => {}

  constructor(job: PlayJob, run: Run, onStep: (made: number) => void) {
    this.#job = job
    this.#run = run
    this.#onStep = onStep
    this.#waiting = job.atBoundaries ? [...job.losses] : []
    this.#meter = job.detailed ? new ProcessMeter(run.steps) : null
  }

  async outcome(corpus: Parameters<typeof play>[0]['corpus']): Promise<PlayOutcome> {
    let failure: string | null
    let history: History | null = null
    try {
      history = await play(this.#scenario(corpus))
      failure = history.finished?.failure ?? null
    } catch (error) {
      if (this.#meter !== null) throw error
      // The swarm cannot continue, so the outcome covers the time until now.
      failure = (error as Error).message.split('\n')[0]!
    }
    const after = Math.max(1, this.#iterations - 1)
    const bytes = [...this.#bytes].filter(([, sum]) => sum > 0)
    return {
      losses: this.#losses,
      recoveries: this.#recoveries,
      iterations: this.#iterations,
      steps: this.#last.step,
      hours: this.#last.hours,
      curve: this.#curve,
      stepSeconds: (this.#last.virtualMs - this.#firstMs) / 1000 / after,
      bytesPerIteration: Object.fromEntries(
        bytes.map(([name, sum]) => [name, Math.round(sum / after)]),
      ),
      failure,
      ...(history && this.#meter && { details: this.#details(history, this.#meter) }),
    }
  }

  #details({ entries, finished }: History, meter: ProcessMeter): Details {
    if (finished?.failure) throw new Error(finished.failure)
    const points = (type: 'step' | 'evaluation') =>
      entries.flatMap((entry) =>
        entry.type === type ? [[entry.step, rounded(entry.loss)] as const] : [],
      )
    return { training: points('step'), validation: points('evaluation'), costs: meter.costs() }
  }

  #scenario(corpus: Parameters<typeof play>[0]['corpus']): Parameters<typeof play>[0] {
    const { job } = { job: this.#job }
    const run = this.#run
    const { domains, machine, compute } = job
    const count = (purpose: string, more: number) =>
      this.#bytes.set(purpose, (this.#bytes.get(purpose) ?? 0) + more)
    return {
      run,
      corpus,
      spares: job.peers === null ? run.spares : job.peers - run.stages - 1,
      deaths: job.deaths ?? [],
      replaced: true,
      link: DEFAULT_LINK,
      links: linksOf(job.network),
      costMs: machine?.costMs ?? costsOf(compute),
      cores: machine?.cores,
      messageMs: machine?.messageMs,
      domainOf: domains && ((slot) => domains[slot % domains.length]!),
      speedOf: (slot) => compute.speeds[slot % compute.speeds.length]!,
      limitMs: Number.POSITIVE_INFINITY,
      watch: (peer) =>
        meterCalls(peer, (protocol, more) => {
          // The name is the third part of /gensyn-node/microbatch/2.0.0.
          count(PURPOSES[protocol.split('/')[2]!] ?? 'agreement', more)
        }),
      wrap: (stage, index, peer) => {
        this.#weightErrors.built(peer, index, stage)
        return this.#meter?.wrap(stage) ?? stage
      },
      onStored: (more) => count('checkpoints', more),
      disturb: (playing) => this.#begin(playing),
      onEntry: (entry) => this.#record(entry),
      isEnough: (entry) => this.#isEnough(entry),
    }
  }

  #begin(playing: Playing): void {
    const { fold, atBoundaries, losses } = this.#job
    this.#playing = playing
    this.#hours = new Hours(playing.world, fold)
    if (atBoundaries) return
    for (const loss of losses) this.#hours.at(loss.hours, () => this.#strike(loss))
  }

  #strike(loss: Loss): void {
    const playing = this.#playing
    const gone = 'stage' in loss ? playing.loseStage(loss.stage) : playing.losePeer(loss.slot)
    if (gone === null) return
    this.#losses.push({ hours: this.#hours.now, stage: gone.stage })
    if (!gone.emptied) return
    this.#empty.add(gone.stage!)
    this.#isMending = true
    this.#hours.lost()
    this.#weightErrors.lost(gone.peer, gone.stage!)
  }

  /** Applies due losses. The next loss comes after the recovery from this one, or after the time between the two losses. */
  #strikeDue(): void {
    this.#unplan()
    // After the last step a loss has no effect.
    if (this.#last.step === this.#run.steps) return
    for (;;) {
      const [loss, next] = this.#waiting
      if (loss === undefined || loss.hours > this.#hours.now) return
      this.#waiting.shift()
      this.#strike(loss)
      if (!this.#isMending || next === undefined) continue
      const since = next.hours <= this.#hours.now ? loss.hours : this.#hours.now
      const ms = (next.hours - since) * HOUR_MS
      this.#unplan = this.#playing.world.schedule(ms, 'another loss', () => this.#strikeDue())
      return
    }
  }

  #record(entry: Entry): void {
    if (entry.type === 'step') this.#made(entry)
    else if (entry.type === 'evaluation') {
      this.#hours.evaluated()
      this.#curve.push([this.#iterations, this.#hours.now, rounded(entry.loss)])
      this.#strikeDue()
    } else if (entry.type === 'held' && entry.cause !== 'replica') this.#held(entry)
    else if (entry.type === 'roster' && this.#isMending && this.#empty.size === 0) {
      this.#isMending = false
      this.#strikeDue()
    }
  }

  #made(entry: Extract<Entry, { type: 'step' }>): void {
    for (const recovery of this.#recoveries) recovery.lossAfter ??= entry.loss
    this.#iterations++
    if (this.#iterations === 1) this.#hours.begin(this.#job.iterationHours)
    else this.#hours.made()
    this.#last = {
      step: entry.step,
      hours: this.#hours.now,
      virtualMs: entry.at,
      loss: entry.loss,
    }
    if (this.#iterations === 1) {
      this.#firstMs = entry.at
      this.#bytes.clear()
    }
    this.#meter?.step()
    this.#onStep(this.#iterations)
    // The held-out loss belongs to the completed steps, as in a run without losses. A loss therefore comes after the
    // evaluation.
    if (entry.step % this.#run.evaluation.everySteps !== 0) this.#strikeDue()
  }

  #held(entry: Extract<Entry, { type: 'held' }>): void {
    this.#empty.delete(entry.stage)
    const weightError = this.#weightErrors.held(entry.by, entry.stage)
    if (entry.cause !== 'lost') return
    this.#recoveries.push({
      iteration: this.#iterations,
      hours: this.#hours.now,
      stage: entry.stage,
      strategy: entry.strategy,
      skipped: entry.skipped.map(({ strategy }) => strategy),
      seconds: entry.secondsSinceLoss,
      bytes: entry.bytes,
      stepsLost: Math.max(0, this.#last.step - entry.ofStep),
      weightError: weightError === null ? null : rounded(weightError),
      lossBefore: this.#last.loss,
      lossAfter: null,
    })
  }

  #isEnough(entry: Entry): boolean {
    const { targetLoss, hours } = this.#job
    if (entry.type === 'evaluation') return targetLoss !== null && entry.loss <= targetLoss
    return entry.type === 'step' && hours !== null && this.#hours.now >= hours
  }
}

/** Rounds to the digits to which losses and errors are stated. Further digits have no meaning. */
function rounded(value: number): number {
  return Number(value.toPrecision(8))
}
