/** Plays the same swarm twice: by the node's own code (`sim/node-swarm.ts`), and by the model. */
import type { Run } from '../../../src/run/run.ts'
import { ACTIVATION_ELEMENTS, costRun, type NodeSwarm, playNodes } from '../../node-swarm.ts'
import { COST_WEIGHTS } from '../../world/cost-stage.ts'
import type { StageMethod } from '../../world/stage.ts'
import type { Loss } from '../failures/loss.ts'
import { playScale, type ScaleOutcome } from './play.ts'
import type { ScaleSetting } from './setting.ts'
import { WARM_STEPS } from './swarm.ts'

/** Duration of each method of a stage. */
const METHOD_MS = 20
const BUILD_MS = 1_000
const LATENCY_MS = 20
const MBIT_PER_SECOND = 100
/** Number of steps of the run, which is more than any comparison makes. */
const STEPS = 1_000_000

export interface Compared {
  readonly peers: number
  readonly stages: number
  readonly spares: number
  readonly microbatches: number
  readonly policy: readonly string[]
  readonly hours: number
  readonly losses: readonly Loss[]
  readonly speeds: readonly number[]
  /** Number of bytes that each byte of a tensor counts. At 32,768 an activation counts 1 MiB, and a stage 0.5 MiB. */
  readonly bodyScale: number
}

function costRunOf({ stages, spares, microbatches, policy }: Compared): Run {
  return costRun({ steps: STEPS, stages, spares, microbatches, policy })
}

export function settingOf(compared: Compared): ScaleSetting {
  const { peers, hours, losses, speeds, bodyScale } = compared
  const costs = (ms: number) =>
    Object.fromEntries(METHODS.map((method) => [method, ms])) as ScaleSetting['costMs']
  const link = { latencyMs: LATENCY_MS, mbitPerSecond: MBIT_PER_SECOND }
  return {
    strategy: compared.policy.join(),
    failures: 'as given',
    seed: 1,
    run: costRunOf(compared),
    peers,
    hours,
    network: { regions: ['anywhere'], within: link, between: [] },
    store: link,
    costMs: { ...costs(METHOD_MS), build: BUILD_MS },
    speeds,
    sizes: {
      activationBytes: 4 * ACTIVATION_ELEMENTS * bodyScale,
      bodyElements: COST_WEIGHTS * bodyScale,
      endsElements: COST_WEIGHTS * bodyScale,
    },
    losses,
    replacementSeconds: 0,
    undisturbed: null,
  }
}

export async function playNodesOf(compared: Compared): Promise<NodeSwarm> {
  const { peers, losses, speeds, bodyScale, hours } = compared
  return playNodes({
    run: costRunOf(compared),
    peers,
    seed: peers,
    link: { latencyMs: LATENCY_MS, bytesPerMs: MBIT_PER_SECOND * 125 },
    costMs: (method) => (method === 'build' ? BUILD_MS : METHOD_MS),
    speeds,
    bodyScale,
    warmSteps: WARM_STEPS,
    losses,
    untilHours: hours,
  })
}

export async function compare(
  compared: Compared,
): Promise<{ node: NodeSwarm; model: ScaleOutcome }> {
  return { node: await playNodesOf(compared), model: playScale(settingOf(compared)) }
}

const METHODS: readonly (StageMethod | 'build')[] = [
  'build',
  'forward',
  'forwardKeeping',
  'backward',
  'embed',
  'embedBackward',
  'lossAndGradient',
  'loss',
  'gradientNorm',
  'update',
  'zeroGradients',
  'load',
  'optimizerState',
  'close',
]
