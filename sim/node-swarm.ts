/**
 * A swarm of hundreds of virtual peers under churn, with the node's own code and stages that only cost time.
 * `sim/scale-main.ts` measures this swarm. The tests compare the model of `sim/lab/scale/` with it.
 */
import { HOUR_MS } from '../protocols/clock.ts'
import type { PeerId } from '../protocols/network.ts'
import type { Entry } from '../src/base/journal.ts'
import type { Run } from '../src/run/run.ts'
import { runSchema } from '../src/run/run-schema.ts'
import { costBatches } from './cost-batches.ts'
import type { Loss } from './lab/failures/loss.ts'
import { sharedRosters } from './shared-rosters.ts'
import { VirtualSwarm } from './virtual-swarm.ts'
import { createCostStage } from './world/cost-stage.ts'
import type { VirtualPeer } from './world/peer.ts'
import type { StageMethod } from './world/stage.ts'
import type { Link } from './world/wire.ts'
import { World } from './world/world.ts'

/** Number of elements of an activation. */
export const ACTIVATION_ELEMENTS = 8

export interface NodeSwarmOptions {
  readonly run: Run
  readonly peers: number
  readonly seed: number
  readonly link: Link
  readonly costMs: (method: StageMethod | 'build') => number
  /** The peer of slot i works `speeds[i % speeds.length]` times as fast as a peer of speed 1. */
  readonly speeds: readonly number[]
  /** Number of bytes that each byte of a tensor counts on the wire. */
  readonly bodyScale: number
  /** Number of steps before hours are counted; at least 1. */
  readonly warmSteps: number
  /** Losses of peers. Another peer joins at once in place of each lost peer. */
  readonly losses: readonly Loss[]
  /** Hours after which the run ends. */
  readonly untilHours: number
}

export interface NodeSwarm {
  /** Virtual time of each step in ms. Steps before the counted hours are left out. */
  readonly madeAt: readonly number[]
  readonly counts: ReadonlyMap<Entry['type'], number>
  /** Journal entries of the stages that were recovered after the loss of their last holder. */
  readonly recoveries: readonly Extract<Entry, { type: 'held' }>[]
  /** Stages that lost their last holder, and when. */
  readonly emptied: readonly { readonly hours: number; readonly stage: number }[]
  /** Number of questions from the first counted step to the last one: by the coordinator, and by all members. */
  readonly asked: { readonly coordinator: number; readonly all: number }
  /** Number of events of the world. */
  readonly events: number
}

/** Makes a run whose stages only cost time. */
export function costRun(
  settings: Pick<Run, 'steps' | 'stages' | 'spares' | 'microbatches'> & {
    readonly policy?: readonly string[]
  },
): Run {
  const { policy, ...sizes } = settings
  return runSchema.parse({
    format: 'gensyn-run',
    version: 1,
    ...sizes,
    model: { layers: sizes.stages, hiddenSize: 4, heads: 1, keyValueHeads: 1 },
    microbatch: { batch: 1, context: 2 },
    data: { source: 'file:none', sha256: '0'.repeat(64), bytes: 1 },
    evaluation: { everySteps: 1_000_000, microbatches: 2 },
    ...(policy && { recovery: { policy } }),
  })
}

/** Plays until the last step of the run, or until its hours are over. */
export function playNodes(options: NodeSwarmOptions): Promise<NodeSwarm> {
  return new Playing(options).run()
}

class Playing {
  readonly #options: NodeSwarmOptions
  readonly #swarm: VirtualSwarm
  readonly #counts = new Map<Entry['type'], number>()
  readonly #recoveries: Extract<Entry, { type: 'held' }>[] = []
  readonly #emptied: { hours: number; stage: number }[] = []
  readonly #madeAt: number[] = []
  /** Number of questions so far, at the first counted step and at the last one. */
  readonly #asked = { coordinator: 0, all: 0 }
  #first = this.#asked
  #last = this.#asked
  /** Virtual time from which hours count; null before. */
  #begunAt: number | null = null
  #warm = 0
  #named = 0
  readonly #over = Promise.withResolvers<void>()

  constructor(options: NodeSwarmOptions) {
    this.#options = options
    this.#swarm = this.#swarmOf(options)
    this.#swarm.onEntry((entry) => this.#record(entry))
  }

  async run(): Promise<NodeSwarm> {
    for (let slot = 0; slot < this.#options.peers; slot++) this.#start(slot)
    await this.#swarm.run(this.#over.promise, { waitingFor: 'the run to finish' })
    const [first, last] = [this.#first, this.#last]
    return {
      madeAt: this.#madeAt,
      counts: this.#counts,
      recoveries: this.#recoveries,
      emptied: this.#emptied,
      asked: { coordinator: last.coordinator - first.coordinator, all: last.all - first.all },
      events: this.#swarm.world.fired,
    }
  }

  #swarmOf({ run, seed, link, costMs, speeds, bodyScale }: NodeSwarmOptions): VirtualSwarm {
    const rosters = sharedRosters()
    return new VirtualSwarm({
      run,
      world: new World({ seed, eventsMax: Number.POSITIVE_INFINITY }),
      network: { links: () => link, gossip: false, shareHeaders: true, bodyScale },
      prepare: ({ name, network }) => this.#countCalls(name, network),
      stages: async ({ slot, network: { machine } }, index) => {
        const slowness = 1 / speeds[slot % speeds.length]!
        await machine.clock.sleep(costMs('build') * slowness)
        return createCostStage(index, {
          machine,
          costMs: (method) => costMs(method) * slowness,
          stages: run.stages,
          elements: ACTIVATION_ELEMENTS,
        })
      },
      data: () => costBatches(),
      node: () => ({ rosters }),
    })
  }

  #countCalls(name: PeerId, network: VirtualPeer): void {
    const call = network.call.bind(network)
    network.call = (...question) => {
      this.#asked.all++
      if (name === this.#swarm.coordinator) this.#asked.coordinator++
      return call(...question)
    }
  }

  #start(slot: number): void {
    const { name, finished } = this.#swarm.join(`peer-${this.#named++}`, slot)
    finished.then(
      ({ failure }) => {
        if (failure === null) this.#over.resolve()
        else this.#over.reject(new Error(`${name}: ${failure}`))
      },
      (error) => this.#over.reject(error),
    )
  }

  #record(entry: Entry): void {
    this.#counts.set(entry.type, (this.#counts.get(entry.type) ?? 0) + 1)
    if (entry.type === 'held' && entry.cause === 'lost') this.#recoveries.push(entry)
    if (entry.type !== 'step') return
    if (this.#begunAt === null) {
      this.#warm++
      if (this.#warm === this.#options.warmSteps) this.#begin()
      return
    }
    this.#madeAt.push(this.#swarm.world.clock.now() - this.#begunAt)
    this.#last = { ...this.#asked }
    if (this.#madeAt.length === 1) this.#first = this.#last
  }

  #begin(): void {
    const { losses, untilHours } = this.#options
    const swarm = this.#swarm
    this.#begunAt = swarm.world.clock.now()
    for (const loss of losses) {
      swarm.world.schedule(loss.hours * HOUR_MS, 'losses', () => {
        const names = 'slot' in loss ? [swarm.at(loss.slot)!] : swarm.livingHolders(loss.stage)
        for (const name of names) this.#lose(name)
      })
    }
    swarm.world.schedule(untilHours * HOUR_MS, 'time is up', () => this.#over.resolve())
  }

  #lose(name: PeerId): void {
    const swarm = this.#swarm
    const member = swarm.roster?.members.find(({ peer }) => peer === name)
    const stage = member?.ready ? member.stage : null
    swarm.crash(name)
    if (stage !== null && swarm.livingHolders(stage).length === 0) {
      const hours = (swarm.world.clock.now() - this.#begunAt!) / HOUR_MS
      this.#emptied.push({ hours, stage })
    }
    this.#start(swarm.slotOf(name))
  }
}
