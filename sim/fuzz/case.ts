/** The case of one seed: a swarm, its machines, its links, and the faults that strike it. */

import { policyOf, RECOVERY_NAMES, rowsOf } from '../../src/recovery/index.ts'
import { type Run, runSchema } from '../../src/run/run-schema.ts'
import { Random } from '../../stages/random.ts'
import { drawFaults, type FaultName } from '../faults.ts'
import type { StageMethod } from '../world/stage.ts'
import { CALAMITY_NAMES, type Calamity, type CalamityName } from './calamities.ts'

export interface Case {
  readonly seed: number
  readonly run: Run
  /** Number of peers that join at the start. */
  readonly peers: number
  /** Number of peers that may live at one time. */
  readonly peersMax: number
  /** Latency one way in ms, between the nearest peers and between the farthest peers. */
  readonly latencyMs: { readonly least: number; readonly most: number }
  readonly costMs: (method: StageMethod) => number
  readonly buildMs: number
  readonly faults: readonly FaultName[]
  /** True if old questions are sent again, as if a link had delayed them. */
  readonly replays: boolean
  /** Behaviour of the store of checkpoints; null if the run's policy has no checkpoints. */
  readonly store: StoreCase | null
  /** Mean times of freezes and cuts of the coordinator. If null, the coordinator is hit like all other peers. */
  readonly coordinator: { readonly gapMs: number; readonly lengthMs: number } | null
  readonly gapMs: number
  readonly lengthMs: number
  readonly calmAtMs: number
  /** What befalls the whole swarm; null if nothing does. */
  readonly calamity: Calamity | null
  /** Approximate duration of an undisturbed step. */
  readonly stepMs: number
}

/** Time from calm until all peers that are in the run must be in one incarnation of it. */
export const CONVERGED_MS = 2 * 60_000

const PEERS = [10, 40] as const
const PEERS_MAX = 64
const STAGES = [2, 6] as const
const STEPS = [6, 12] as const
const MICROBATCHES = [2, 8] as const
/** The same for histories with a calamity, which last longer. */
const FEW_PEERS = [5, 14] as const
/** One history of so many lasts for hours, and one has much churn. */
const RARE = 60
const HOURS_FACTOR = 20
const STEP_FACTORS: Readonly<Record<Pace, number>> = { usual: 1, hours: 2, churn: 8 }
/** Factors of the mean time between two faults. */
const GAP_FACTORS: Readonly<Record<Pace, number>> = { usual: 1, hours: 2, churn: 0.3 }
const CHURN: readonly FaultName[] = ['crash', 'crashSeveral', 'restart', 'joinerStorm']
/** Body stages of a swarm that is split, so that each part may have all of them. */
const FEW_STAGES_MAX = 2
const FEW_MICROBATCHES = [2, 4] as const
const LONG_STEPS_MAX = 250
const MAJORITY_SECONDS = [5, 20] as const
const KEPT_STEPS_MAX = 3

export interface StoreCase {
  /** Mean duration of one write. */
  readonly writeMs: number
  /** Share of writes that fail. */
  readonly failing: number
}

export function drawCase(seed: number): Case {
  const random = new Random(`fuzz/${seed}`)
  const calamity = drawCalamity(seed)
  const pace = calamity === null ? drawPace(seed) : 'usual'
  const isUsual = calamity === null && pace === 'usual'
  const peers = within(isUsual ? PEERS : FEW_PEERS, random)
  // Each stage gets at least two holders, so that most losses are losses of replicas.
  const most = calamity === 'split' || pace !== 'usual' ? FEW_STAGES_MAX : STAGES[1]
  const stages = Math.min(within(STAGES, random), Math.floor(peers / 2) - 1, most)
  const microbatches = within(isUsual ? MICROBATCHES : FEW_MICROBATCHES, random)
  const least = spread(1, 60, random)
  const latencyMs = { least, most: least * spread(1, 4, random) }
  const forwardMs = spread(5, 250, random) * (pace === 'hours' ? HOURS_FACTOR : 1)
  const hops = 2 * (stages + 1)
  const stepMs =
    hops * (latencyMs.most + forwardMs) + microbatches * 3 * forwardMs + 8 * latencyMs.most
  const times = timesOf(calamity, pace, stepMs, random)
  const store = drawStore(seed, stepMs)
  const { steps, calmAtMs, majoritySeconds } = times
  const settings = { seed, stages, microbatches, steps, majoritySeconds, spares: random.integer(3) }
  return {
    seed,
    run: runOf(settings, policyFor(seed, stages, store !== null), store?.checkpoint ?? {}),
    peers: store === null ? peers : Math.min(peers, stages + store.beyond),
    peersMax: isUsual ? PEERS_MAX : 2 * peers,
    latencyMs,
    costMs: (method) => COSTS[method] * forwardMs,
    buildMs: spread(10, 2_000, random),
    faults: pace === 'churn' ? CHURN : withCrashes(drawFaults(random), store !== null),
    replays: random.integer(2) === 0,
    store,
    coordinator:
      random.integer(2) === 0
        ? null
        : { gapMs: spread(3_000, 20_000, random), lengthMs: spread(2_000, 15_000, random) },
    // A storm that goes on beside a calamity is milder.
    gapMs: stepMs * spread(0.2, 3, random) * (calamity === null ? GAP_FACTORS[pace] : 4),
    lengthMs: Math.max(500, stepMs * spread(0.2, 8, random)),
    calmAtMs,
    calamity: times.calamity,
    stepMs,
  }
}

function within([least, most]: readonly [number, number], random: Random): number {
  return least + random.integer(most - least + 1)
}

/** Draws on a logarithmic scale, so that small and large values are equally likely. */
function spread(least: number, most: number, random: Random): number {
  return least * (most / least) ** random.float()
}

/** Draws what befalls the whole swarm, in a third of all histories. The draw is independent of all others of the case. */
function drawCalamity(seed: number): CalamityName | null {
  const random = new Random(`fuzz/${seed}/calamity`)
  if (random.integer(3) > 0) return null
  return CALAMITY_NAMES[random.integer(CALAMITY_NAMES.length)]!
}

type Pace = 'usual' | 'hours' | 'churn'

/** Draws how fast things go. A few histories last for hours, and in a few others peers come and go by the hundred. */
function drawPace(seed: number): Pace {
  const random = new Random(`fuzz/${seed}/pace`)
  return (['hours', 'churn'] as const)[random.integer(RARE)] ?? 'usual'
}

/** When a calamity comes and ends, when it is calm, and how many steps the run has, so that some of them come after that. */
function timesOf(kind: CalamityName | null, pace: Pace, stepMs: number, random: Random) {
  if (kind === null) {
    const steps = within(STEPS, random) * STEP_FACTORS[pace]
    const calmAtMs = stepMs * steps * spread(0.5, 3, random)
    return { steps, calmAtMs, majoritySeconds: 60, calamity: null }
  }
  const majoritySeconds = within(MAJORITY_SECONDS, random)
  const calamity: Calamity = {
    kind,
    atMs: stepMs * spread(3, 10, random),
    lengthMs: 10_000 + 1000 * majoritySeconds * spread(0.5, 3, random),
    absent: random.integer(2) === 0 ? 0 : random.float(),
  }
  const calmAtMs = calamity.atMs + calamity.lengthMs + stepMs * spread(8, 20, random)
  // After a split there must be steps left, so that its parts have to meet.
  const lastMs = calmAtMs + (kind === 'split' ? CONVERGED_MS : 0)
  const wanted = Math.ceil((lastMs / stepMs) * spread(0.8, 2, random))
  const steps = Math.min(Math.max(wanted, 12), LONG_STEPS_MAX)
  return { steps, calmAtMs, majoritySeconds, calamity }
}

/** Adds crashes. A swarm rolls back only if a peer is lost for good with the only state of its stage. */
function withCrashes(faults: readonly FaultName[], always: boolean): readonly FaultName[] {
  return always ? [...new Set<FaultName>([...faults, 'restart', 'crash'])] : faults
}

/** Draws a store for a third of all runs. The draws are independent of all other draws of the case. */
function drawStore(seed: number, stepMs: number) {
  const random = new Random(`fuzz/${seed}/store`)
  if (random.integer(3) > 0) return null
  const mode = random.integer(4) === 0 ? 'sync' : 'lazy'
  const checkpoint = { everySteps: 1 + random.integer(3), mode }
  return {
    checkpoint,
    /** Number of peers beyond the body stages. The number is small, so that many losses are of a stage's only holder. */
    beyond: 2 + random.integer(5),
    writeMs: stepMs * 0.01 * 300 ** random.float(),
    failing: random.integer(3) === 0 ? 0.05 : 0,
  }
}

/** Duration of each method, in forward passes of a body stage. */
const COSTS: Readonly<Record<StageMethod, number>> = {
  forward: 1,
  forwardKeeping: 1,
  backward: 2,
  embed: 0.1,
  embedBackward: 0.1,
  lossAndGradient: 1,
  loss: 0.5,
  gradientNorm: 0.1,
  update: 0.5,
  zeroGradients: 0.1,
  load: 0.5,
  optimizerState: 0.1,
  close: 0,
}

/**
 * Draws the policy of a case. Every strategy can come first, so that its upkeep meets all faults. Later strategies recover
 * the stages that the first strategy cannot.
 */
function policyFor(seed: number, stages: number, hasStore: boolean): readonly string[] {
  const random = new Random(`fuzz/policy/${seed}`)
  const able = ['auto', ...RECOVERY_NAMES].filter((name) => {
    if (name === 'checkpoint') return false
    const rows = rowsOf(policyOf(name))
    return rows.every(({ refusal }) => (refusal?.(RECOVERY, stages) ?? null) === null)
  })
  const policy = policyOf(able[random.integer(able.length)]!)
  // Without copies the last holder of the ends cannot be lost.
  const kept = random.integer(4) === 0 ? policy.filter((name) => name !== 'shadow') : policy
  return hasStore ? ['checkpoint', ...kept] : kept
}

const RECOVERY = runSchema.shape.recovery.parse({})

function runOf(
  settings: Pick<Run, 'seed' | 'stages' | 'microbatches' | 'steps' | 'spares' | 'majoritySeconds'>,
  policy: readonly string[],
  checkpoint: object,
): Run {
  return runSchema.parse({
    format: 'gensyn-run',
    version: 1,
    ...settings,
    wire: 'float32',
    model: { layers: settings.stages, hiddenSize: 4, heads: 1, keyValueHeads: 1 },
    microbatch: { batch: 1, context: 2 },
    data: { source: 'file:none', sha256: '0'.repeat(64), bytes: 1 },
    evaluation: { everySteps: 4, microbatches: 2 },
    recovery: {
      policy,
      checkpoint,
      kept: { everySteps: keptSteps(settings.seed) },
      shadow: { everySteps: 3 },
      snapshot: { everySteps: 3 },
    },
  })
}

/** Steps between two states on every disk. Half of all histories without a total loss have no disk. */
function keptSteps(seed: number): number {
  const random = new Random(`fuzz/${seed}/kept`)
  const steps = within([1, KEPT_STEPS_MAX], random)
  return drawCalamity(seed) === 'everybodyLost' || random.integer(2) === 0 ? steps : 0
}

/** Number of elements of an activation. */
export function elementsOf({ microbatch, model }: Run): number {
  return microbatch.batch * microbatch.context * model.hiddenSize
}
