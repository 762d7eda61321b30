/** One trial of a strategy: a whole training run of the node's own code under virtual time, and what came of it. */
import { resolve } from 'node:path'
import type { Entry } from '../../src/base/journal.ts'
import { newRun } from '../../src/cli/init.ts'
import { loadCorpus } from '../../src/data/corpus.ts'
import type { WrittenRecovery } from '../../src/run/run-schema.ts'
import type { AnyStage } from '../../stages/stage.ts'
import { keyOfValue } from '../jobs/key.ts'
import { DEFAULT_COSTS, DEFAULT_LINK, play } from '../scenario.ts'
import { meterCalls } from '../world/byte-meter.ts'
import { SCALES, type Scale } from './scales.ts'
import type { Point } from './statistics.ts'
import { drawFailures } from './trace.ts'

/** Raise it when trials would come out otherwise than before though their settings are the same. */
const VERSION = 3

export interface Trial {
  readonly scale: keyof typeof SCALES
  readonly seed: number
  /** Of a body stage in an iteration; 0 for a run that nothing disturbs. */
  readonly rate: number
  readonly edgesExempt: boolean
  readonly steps: number
  /** Every stage has two holders. */
  readonly replicas?: true
  /** Of the strategy's code, if it has changed since the first. */
  readonly revision?: number
  /** What the manifest says of recovery, as far as it differs from the defaults. */
  readonly recovery: WrittenRecovery
}

/** A stage that was brought back: of its `held` entry. */
type Recovery = Extract<Entry, { type: 'held' }>

export interface Outcome {
  readonly trial: Trial
  readonly failures: number
  /** Steps in the order in which they were made, each with its training loss. */
  readonly training: readonly Point[]
  /** The loss on held-out text. */
  readonly validation: readonly Point[]
  readonly recoveries: readonly Recovery[]
  readonly cost: Cost
}

interface Cost {
  /** Of one virtual step, on average of those after the first. */
  readonly stepSeconds: number
  /** Bytes of bodies that all peers sent a step, by protocol, or wrote to the store: of those after the first. */
  readonly stepBytes: Readonly<Record<string, number>>
  /** Of this process, a step after the first. */
  readonly cpuSeconds: number
  /** Of those the part in which no stage computed. */
  readonly otherCpuSeconds: number
  /**
   * That this process holds in array buffers after the last step: what stages exchange and keep, and memory of theirs that
   * waits to be used again, not what ONNX Runtime computes on.
   */
  readonly bufferBytes: number
  /** Of real time, the whole trial. */
  readonly seconds: number
}

/** Two trials of the same key have the same outcome; its parts that nobody states are not in it. */
export function keyOf(trial: Trial): string {
  const { scale, rate, edgesExempt, ...rest } = trial
  const settings: Scale = SCALES[scale]
  // Without failures it does not matter who is spared.
  const exempt = rate > 0 && edgesExempt
  return keyOfValue({ VERSION, settings, rate, exempt, ...rest })
}

/** @param onStep hears of every step that is made */
export async function playTrial(trial: Trial, onStep: (made: number) => void): Promise<Outcome> {
  const begun = process.hrtime.bigint()
  const { seed, rate, edgesExempt, steps } = trial
  const { typed, given, quiet } = SCALES[trial.scale]
  const recovery = Object.entries(trial.recovery).map(([name, value]) => [
    `recovery.${name}`,
    value,
  ])
  const run = await newRun(
    { ...typed, seed: String(seed), steps: String(steps) },
    undefined,
    process.cwd(),
    { ...given, spares: SPARES, ...Object.fromEntries(recovery) },
  )
  const { stages } = run
  const deaths = drawFailures({ seed, rate, iterations: steps, quiet, stages, edgesExempt })
  const meter = new Meter(steps)
  const { entries, finished } = await play({
    run,
    corpus: await loadCorpus(run, resolve('run.json')),
    spares: SPARES + (trial.replicas ? stages + 1 : 0),
    deaths,
    replaced: true,
    link: DEFAULT_LINK,
    costMs: DEFAULT_COSTS,
    limitMs: Number.POSITIVE_INFINITY,
    watch: (peer) => meterCalls(peer, (protocol, bytes) => meter.count(protocol, bytes)),
    wrap: (stage) => meter.wrap(stage),
    onStored: (bytes) => meter.count('store', bytes),
    onEntry: (entry) => {
      if (entry.type !== 'step') return
      meter.step(entry.at)
      onStep(meter.steps)
    },
  })
  if (finished?.failure) throw new Error(finished.failure)
  return {
    trial,
    failures: deaths.length,
    training: points(entries, 'step'),
    validation: points(entries, 'evaluation'),
    recoveries: entries.filter(
      (entry) => entry.type === 'held' && entry.cause === 'lost',
    ) as Recovery[],
    cost: { ...meter.cost(), seconds: Number(process.hrtime.bigint() - begun) / 1e9 },
  }
}

/** Two stages may be lost at once: one spare each, and both come back under the same roster. */
const SPARES = 2

function points(entries: readonly Entry[], type: 'step' | 'evaluation'): Point[] {
  return entries.flatMap((entry) =>
    entry.type === type ? [[entry.step, Number(entry.loss.toPrecision(8))] as const] : [],
  )
}

/** What the steps after the first take: before it the stages are built. */
class Meter {
  steps = 0
  readonly #bytes = new Map<string, number>()
  #first = { at: 0, cpu: cpuSeconds() }
  /** Stages that compute now, and since when at least one does. */
  #computing = 0
  #since = 0
  #stageCpu = 0
  #lastAt = 0
  #bufferBytes = 0
  readonly #last: number

  /** @param last the step at which memory is measured */
  constructor(last: number) {
    this.#last = last
  }

  wrap<S extends AnyStage>(stage: S): S {
    return new Proxy(stage, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name, target)
        if (typeof value !== 'function') return value
        return async (...inputs: unknown[]) => {
          this.#begin()
          try {
            return await value.apply(target, inputs)
          } finally {
            this.#end()
          }
        }
      },
    })
  }

  #begin(): void {
    if (this.#computing++ === 0) this.#since = cpuSeconds()
  }

  #end(): void {
    if (--this.#computing === 0) this.#stageCpu += cpuSeconds() - this.#since
  }

  count(name: string, bytes: number): void {
    this.#bytes.set(name, (this.#bytes.get(name) ?? 0) + bytes)
  }

  step(at: number): void {
    this.steps++
    this.#lastAt = at
    if (this.steps === this.#last) this.#bufferBytes = usedBuffers()
    if (this.steps > 1) return
    this.#first = { at, cpu: cpuSeconds() }
    this.#stageCpu = 0
    this.#bytes.clear()
  }

  cost(): Omit<Cost, 'seconds'> {
    const steps = Math.max(1, this.steps - 1)
    const cpu = cpuSeconds() - this.#first.cpu
    const bytes = [...this.#bytes].filter(([, sum]) => sum > 0)
    return {
      stepSeconds: (this.#lastAt - this.#first.at) / 1000 / steps,
      stepBytes: Object.fromEntries(bytes.map(([name, sum]) => [name, Math.round(sum / steps)])),
      cpuSeconds: cpu / steps,
      otherCpuSeconds: (cpu - this.#stageCpu) / steps,
      bufferBytes: this.#bufferBytes,
    }
  }
}

/** That this process has used. */
function cpuSeconds(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}

/** Bytes in array buffers that are in use: exact if the process was started with `--expose-gc`. */
function usedBuffers(): number {
  globalThis.gc?.()
  // What the first one found is freed behind its back; the second waits for that.
  globalThis.gc?.()
  return process.memoryUsage().arrayBuffers
}
