/**
 * A week of a virtual swarm: twelve peers with the node's own code, single losses, bursts and changes of coordinator. After every hour
 * the process is measured: memory, open descriptors, pending events of the world, and the journals, which are real files.
 */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { HOUR_MS } from '../../protocols/clock.ts'
import type { PeerId } from '../../protocols/network.ts'
import { costBatches } from '../../sim/cost-batches.ts'
import { costRun } from '../../sim/node-swarm.ts'
import { VirtualSwarm } from '../../sim/virtual-swarm.ts'
import { createCostStage } from '../../sim/world/cost-stage.ts'
import { World } from '../../sim/world/world.ts'
import type { Entry } from '../../src/base/journal.ts'
import { JournalFile } from '../../src/base/journal-file.ts'
import { Random } from '../../stages/random.ts'

export interface WeekOptions {
  readonly hours: number
  /** Losses of one peer, evenly spread. */
  readonly losses: number
  /** Losses of five peers at once, evenly spread. */
  readonly bursts: number
  readonly seed: number
  /** Called after each virtual hour. */
  readonly onHour?: (week: WeekSample) => void
}

interface WeekSample {
  readonly hours: number
  readonly heap: number
  readonly descriptors: number
  /** Pending events of the world: timers of all nodes, and messages under way. */
  readonly timers: number
  /** Bytes of the journals of the machines. */
  readonly journal: number
  readonly steps: number
}

export interface Week {
  readonly samples: readonly WeekSample[]
  readonly steps: number
  /** Number of processes that were lost. */
  readonly lost: number
  /** Number of times that the coordinator changed. */
  readonly successions: number
}

export const PEERS = 12
const BURST = 5
const STAGES = 4
/** Each of so many single losses hits the coordinator. */
const COORDINATOR_EVERY = 4
/** Half of the lost machines come back, the others are replaced by new ones. */
const RETURNS_SHARE = 0.5
/** Time until a lost peer is replaced, in milliseconds. */
const REPLACED_MS = 300_000
/** Bound of the journals of one machine in bytes: small, so that they are rotated many times. */
export const JOURNAL_BYTES = 512 * 1024
/** Milliseconds of a stage's forward pass. A step takes about half a minute. */
const FORWARD_MS = 2_000

export function playWeek(options: WeekOptions): Promise<Week> {
  return new PlayedWeek(options).play()
}

class PlayedWeek {
  readonly #options: WeekOptions
  readonly #swarm: VirtualSwarm
  readonly #random: Random
  readonly #folder = mkdtempSync(join(tmpdir(), 'gensyn-week-'))
  readonly #journals = new Map<PeerId, JournalFile>()
  readonly #over = Promise.withResolvers<void>()
  readonly #samples: WeekSample[] = []
  #steps = 0
  #lost = 0
  #successions = 0
  #coordinator = ''
  #named = 0

  constructor(options: WeekOptions) {
    this.#options = options
    this.#random = new Random(`week/${options.seed}`)
    this.#swarm = swarmOf(options.seed)
    this.#swarm.onEntry((entry) => this.#record(entry))
  }

  async play(): Promise<Week> {
    const { hours, losses, bursts } = this.#options
    try {
      for (let slot = 0; slot < PEERS; slot++) this.#start(slot)
      for (let hour = 1; hour <= hours; hour++) this.#at(hour, () => this.#measure(hour))
      for (let i = 0; i < losses; i++) {
        const isCoordinator = i % COORDINATOR_EVERY === 0
        this.#at(((i + 0.5) * hours) / losses, () => this.#lose(isCoordinator ? 'coordinator' : 1))
      }
      for (let i = 0; i < bursts; i++) {
        this.#at(((i + 0.7) * hours) / bursts, () => this.#lose(BURST))
      }
      this.#at(hours, () => this.#over.resolve())
      await this.#swarm.run(this.#over.promise, { waitingFor: 'the end of the week' })
    } finally {
      for (const journal of this.#journals.values()) journal.close()
      rmSync(this.#folder, { recursive: true, force: true })
    }
    const [samples, steps] = [this.#samples, this.#steps]
    return { samples, steps, lost: this.#lost, successions: this.#successions }
  }

  #at(hours: number, happen: () => void): void {
    this.#swarm.world.schedule(hours * HOUR_MS, 'the week', happen)
  }

  #start(slot: number, name = `peer-${++this.#named}`): void {
    const folder = join(this.#folder, String(slot))
    mkdirSync(folder, { recursive: true })
    const { clock } = this.#swarm.world
    const options = { folder, peer: name, maxBytes: JOURNAL_BYTES, tell: () => {} }
    this.#journals.get(name)?.close()
    this.#journals.set(name, new JournalFile({ ...options, now: () => clock.now() }))
    this.#swarm.join(name, slot).finished.then(
      ({ failure }) => this.#over.reject(new Error(`${name} ended: ${failure}`)),
      (error) => this.#over.reject(error),
    )
  }

  #lose(who: 'coordinator' | number): void {
    const swarm = this.#swarm
    const living = swarm.living.map(({ name }) => name)
    const coordinator = swarm.coordinator
    const lost =
      who === 'coordinator' && coordinator !== null && living.includes(coordinator)
        ? [coordinator]
        : drawn(living, who === 'coordinator' ? 1 : who, this.#random)
    for (const name of lost) {
      const slot = swarm.slotOf(name)
      swarm.crash(name)
      swarm.peers.delete(name)
      this.#journals.get(name)?.close()
      this.#journals.delete(name)
      this.#lost++
      const returns = this.#random.float() < RETURNS_SHARE
      swarm.world.schedule(REPLACED_MS, 'a peer comes', () =>
        this.#start(slot, returns ? name : undefined),
      )
    }
  }

  #record(entry: Entry): void {
    this.#journals.get(entry.peer)?.write(entry)
    if (entry.type !== 'step') return
    this.#steps = Math.max(this.#steps, entry.step)
    if (this.#coordinator !== '' && this.#coordinator !== entry.peer) this.#successions++
    this.#coordinator = entry.peer
  }

  #measure(hours: number): void {
    globalThis.gc?.()
    const sample: WeekSample = {
      hours,
      heap: process.memoryUsage().heapUsed,
      descriptors: readdirSync('/proc/self/fd').length,
      timers: this.#swarm.world.pending,
      journal: bytesOf(this.#folder),
      steps: this.#steps,
    }
    this.#samples.push(sample)
    this.#options.onHour?.(sample)
  }
}

function swarmOf(seed: number): VirtualSwarm {
  const sizes = { steps: 10_000_000, stages: STAGES, spares: 2, microbatches: 4 }
  const run = costRun(sizes)
  return new VirtualSwarm({
    run,
    world: new World({ seed, eventsMax: Number.POSITIVE_INFINITY }),
    network: { links: () => ({ latencyMs: 20, bytesPerMs: 2_500 }), gossip: false },
    stages: async ({ network: { machine } }, index) => {
      await machine.clock.sleep(FORWARD_MS)
      return createCostStage(index, {
        machine,
        costMs: () => FORWARD_MS,
        stages: run.stages,
        elements: 8,
      })
    },
    data: () => costBatches(),
  })
}

/** Draws `count` different peers. */
function drawn(peers: readonly PeerId[], count: number, random: Random): PeerId[] {
  const left = [...peers]
  return Array.from({ length: Math.min(count, left.length) }, () => {
    return left.splice(random.integer(left.length), 1)[0]!
  })
}

function bytesOf(folder: string): number {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  return files.reduce((sum, file) => {
    const { size } = statSync(join(folder, file))
    return file.endsWith('.jsonl') ? sum + size : sum
  }, 0)
}
