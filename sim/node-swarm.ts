/**
 * A swarm of hundreds of virtual peers under churn, with the node's own code and stages that only cost time: what
 * `sim/scale-main.ts` measures, and what the model of `sim/lab/scale/` is held against.
 */
import { HOUR_MS } from '../protocols/clock.ts'
import { ProtocolError } from '../protocols/errors.ts'
import type { PeerId } from '../protocols/network.ts'
import { createJournal, type Entry } from '../src/base/journal.ts'
import { holdersOf } from '../src/membership/roster.ts'
import { runNode } from '../src/node/node.ts'
import { type Run, runId } from '../src/run/run.ts'
import { runSchema } from '../src/run/run-schema.ts'
import type { Loss } from './lab/failures/loss.ts'
import { costTokens, createCostStage } from './world/cost-stage.ts'
import { VirtualNetwork } from './world/network.ts'
import type { StageMethod } from './world/stage.ts'
import type { Link } from './world/wire.ts'
import { World } from './world/world.ts'

/** Elements of an activation. */
export const ACTIVATION_ELEMENTS = 8

export interface NodeSwarmOptions {
  readonly run: Run
  readonly peers: number
  readonly seed: number
  readonly link: Link
  readonly costMs: (method: StageMethod | 'build') => number
  /** Slot i is `speeds[i % speeds.length]` times as fast. */
  readonly speeds: readonly number[]
  /** What a byte of a tensor counts on the wire. */
  readonly bodyScale: number
  /** Steps that are made before hours begin to count; at least 1. */
  readonly warmSteps: number
  /** Another peer joins in place of each one at once. */
  readonly losses: readonly Loss[]
  /** Ends the run. */
  readonly untilHours: number
}

export interface NodeSwarm {
  /** When each step was made, in virtual ms; those before the hours count are left out. */
  readonly madeAt: readonly number[]
  readonly counts: ReadonlyMap<Entry['type'], number>
  /** Of stages that had lost their last holder. */
  readonly recoveries: readonly Extract<Entry, { type: 'held' }>[]
  /** Stages whose last holder went, with when. */
  readonly emptied: readonly { readonly hours: number; readonly stage: number }[]
  /** From the first of these steps to the last: of the coordinator, and of all members. */
  readonly asked: { readonly coordinator: number; readonly all: number }
  /** Events of the world. */
  readonly events: number
}

/** A run of nothing but time. */
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

/** Until the run's last step, or its hours are over. */
export async function playNodes(options: NodeSwarmOptions): Promise<NodeSwarm> {
  const { run, peers, seed, link, costMs, speeds, bodyScale, warmSteps, losses, untilHours } =
    options
  const world = new World({ seed, eventsMax: Number.POSITIVE_INFINITY })
  const network = new VirtualNetwork({
    world,
    links: () => link,
    gossip: false,
    shareHeaders: true,
    bodyScale,
  })
  const slots: PeerId[] = []
  const counts = new Map<Entry['type'], number>()
  const recoveries: Extract<Entry, { type: 'held' }>[] = []
  const emptied: { hours: number; stage: number }[] = []
  const madeAt: number[] = []
  const asked = { coordinator: 0, all: 0 }
  let [first, last] = [asked, asked]
  let coordinator: PeerId | null = null
  let roster: Extract<Entry, { type: 'roster' }>['roster'] | null = null
  let begunAt: number | null = null
  let warm = 0
  let named = 0
  const over = Promise.withResolvers<void>()

  const record = (entry: Entry) => {
    counts.set(entry.type, (counts.get(entry.type) ?? 0) + 1)
    if (entry.type === 'roster') {
      coordinator = entry.peer
      roster = entry.roster
    }
    if (entry.type === 'held' && entry.cause === 'lost') recoveries.push(entry)
    if (entry.type !== 'step') return
    if (begunAt === null) {
      warm++
      if (warm === warmSteps) begin()
      return
    }
    madeAt.push(world.clock.now() - begunAt)
    last = { ...asked }
    if (madeAt.length === 1) first = last
  }

  const holders = (stage: number) =>
    (roster === null ? [] : holdersOf(roster, stage))
      .map(({ peer }) => peer)
      .filter((peer) => network.living.includes(peer))

  const die = (name: PeerId) => {
    const slot = slots.indexOf(name)
    const stage = roster?.members.find(({ peer, ready }) => ready && peer === name)?.stage ?? null
    network.crash(name)
    if (stage !== null && holders(stage).length === 0) {
      emptied.push({ hours: (world.clock.now() - begunAt!) / HOUR_MS, stage })
    }
    start(slot)
  }

  const begin = () => {
    begunAt = world.clock.now()
    for (const loss of losses) {
      world.schedule(loss.hours * HOUR_MS, 'losses', () => {
        const names = 'slot' in loss ? [slots[loss.slot]!] : holders(loss.stage)
        for (const name of names) die(name)
      })
    }
    world.schedule(untilHours * HOUR_MS, 'time is up', () => over.resolve())
  }

  const start = (slot: number) => {
    const name = `peer-${named++}`
    const founds = named === 1
    slots[slot] = name
    const slowness = 1 / speeds[slot % speeds.length]!
    const own = network.join(name)
    const { machine } = own
    const call = own.call.bind(own)
    own.call = (...question) => {
      asked.all++
      if (name === coordinator) asked.coordinator++
      return call(...question)
    }
    let begins = founds
    const finished = runNode({
      run,
      runId: runId(run),
      network: own,
      clock: machine.clock,
      journal: createJournal(name, () => world.clock.now(), [record]),
      wish: null,
      lastStep: run.steps,
      signal: new AbortController().signal,
      discover: async (enter) => {
        if (begins) {
          begins = false
          return null
        }
        for (;;) {
          const contact = coordinator ?? slots[0]!
          try {
            const peer = await own.connect(`sim://${contact}`, { timeoutMs: 5_000 })
            const found = await enter(peer)
            if (found !== null) return found
          } catch (error) {
            if (!(error instanceof ProtocolError)) throw error
          }
          await machine.clock.sleep(1_000)
        }
      },
      createStage: async (index) => {
        await machine.clock.sleep(costMs('build') * slowness)
        return createCostStage(index, {
          machine,
          costMs: (method) => costMs(method) * slowness,
          stages: run.stages,
          elements: ACTIVATION_ELEMENTS,
        })
      },
      loadData: async () => ({
        training: (step, index) => ({
          tokens: costTokens(step, index, 2),
          targets: costTokens(step, index, 2),
        }),
        heldOut: (index) => ({ tokens: costTokens(0, index, 2), targets: costTokens(0, index, 2) }),
      }),
    })
    finished.then(
      ({ failure }) => {
        if (failure === null) over.resolve()
        else over.reject(new Error(`${name}: ${failure}`))
      },
      (error) => over.reject(error),
    )
  }

  for (let slot = 0; slot < peers; slot++) start(slot)
  await world.run(over.promise, { waitingFor: 'the run to finish' })
  return {
    madeAt,
    counts,
    recoveries,
    emptied,
    asked: { coordinator: last.coordinator - first.coordinator, all: last.all - first.all },
    events: world.fired,
  }
}
