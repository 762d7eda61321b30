/** What memory a stage of a run will take here: told before training, and refused where it cannot fit. */
import { type MemoryPlan, planMemory } from '../../stages/memory-plan.ts'
import { ENDS } from '../../stages/parameters.ts'
import { InputError } from '../base/errors.ts'
import { COPY_GENERATIONS } from '../base/limits.ts'
import { secondStage } from '../copies/understudies.ts'
import { foundingRoster } from '../membership/roster.ts'
import { copyBytes } from '../recovery/copy-form.ts'
import { rowsOf } from '../recovery/index.ts'
import type { CopyRule } from '../recovery/strategy.ts'
import { type Run, stageConfig } from '../run/run.ts'

/** In bytes. */
interface NodePlan extends MemoryPlan {
  /** The state of the next stage, and the totals of both stages' gradients; 0 unless the policy has `redundant`. */
  readonly second: number
  /** The copy of weights and moments that a checkpoint is written from; 0 unless the policy has `checkpoint`. */
  readonly checkpoint: number
  /** The copy that this stage's others keep while it is made and sent, and those that this peer keeps of other stages. */
  readonly copies: number
}

export function planOf(run: Run, stage: number, threads: number): NodePlan {
  const plan = (index: number) =>
    planMemory(stageConfig(run), index, { threads, microbatches: run.microbatches })
  const own = plan(stage)
  const checkpoint = run.recovery.policy.includes('checkpoint') ? own.weights + own.optimizer : 0
  const copies = copiesOf(run, stage, plan)
  const more = { checkpoint, copies, peak: own.peak + checkpoint + copies }
  const next = secondStage(run, stage)
  if (next === null) return { ...own, ...more, second: 0 }
  // Its programs but for the optimizer's never run.
  const { weights, sums, optimizer } = plan(next)
  const second = weights + sums + optimizer + weights + own.weights
  return { ...own, ...more, second, peak: more.peak + second }
}

/** In a swarm with one holder a stage, which is when a peer keeps the most. */
function copiesOf(run: Run, stage: number, plan: (stage: number) => MemoryPlan): number {
  const members = Array.from({ length: run.stages + 1 }, (_, id) => ({
    ...{ id, peer: `${id}`, session: 0, addresses: [], domain: '', stage: id, ready: true },
  }))
  const roster = { ...foundingRoster(members[0]!), members }
  let total = 0
  for (const { copies } of rowsOf(run.recovery.policy)) {
    const rule = copies?.(run.recovery, run.stages)
    for (const { stage: other } of rule === undefined ? [] : members.filter(copied(rule))) {
      const { form, shards } = rule!
      const { weights, optimizer } = plan(other)
      const whole = copyBytes([weights / FLOAT, optimizer / FLOAT], form)
      const shard = Math.ceil(whole / shards.data)
      const keeps = rule!.keepers(roster, other).filter((member) => member.stage === stage).length
      // One more is on its way.
      total += keeps * (COPY_GENERATIONS + 1) * shard
      const isWhole = shards.data === 1 && shards.parity === 0
      if (other === stage) total += whole + (isWhole ? 0 : (shards.data + shards.parity) * shard)
    }
  }
  return total
}

const FLOAT = Float32Array.BYTES_PER_ELEMENT

function copied({ applies }: CopyRule) {
  return ({ stage }: { readonly stage: number }) => applies(stage)
}

/** One line: the peak, and what it is made of. */
export function describePlan(stage: number, plan: NodePlan): string {
  const { weights, sums, optimizer, inFlight, working, process, peak } = plan
  const { second, checkpoint, copies } = plan
  const parts = {
    weights,
    'gradient sums': sums,
    optimizer,
    'in flight': inFlight,
    working,
    process,
    ...(second > 0 && { 'redundant state of the next stage': second }),
    ...(checkpoint > 0 && { 'copy for checkpoints': checkpoint }),
    ...(copies > 0 && { 'copies of stages': copies }),
  }
  const shown = Object.entries(parts).map(([name, bytes]) => `${name} ${megabytes(bytes)}`)
  return `stage ${stage} will take about ${megabytes(peak)} MB: ${shown.join(', ')}`
}

/** What makes the largest part of a plan smaller. */
const REMEDIES: Readonly<Record<Exclude<keyof NodePlan, 'peak' | 'process'>, string>> = {
  weights: 'more --stages, or a smaller --hidden',
  sums: 'more --stages, or a smaller --hidden',
  optimizer: 'more --stages, a smaller --hidden, or "kind": "sgd" in the manifest\'s optimizer',
  inFlight: '"keep": "none" in the manifest, fewer --microbatches, or a smaller --batch',
  working: 'a smaller --batch or --context, or fewer --threads',
  second: 'more --stages, a smaller --hidden, or a --policy without redundant',
  checkpoint: 'more --stages, a smaller --hidden, or a --policy without checkpoint',
  copies:
    'more --stages, a smaller --hidden, or a --policy without shadow, snapshot and checkfree+',
}

/**
 * @param wish the stage that is asked for; null if it may be any
 * @param available bytes that this process may still take
 * @throws InputError that says how much it would be and what to change
 */
export function refuseWhatCannotFit(
  run: Run,
  wish: number | null,
  threads: number,
  available: number,
): void {
  for (const stage of wish === null ? [ENDS, ENDS + 1] : [wish]) {
    const plan = planOf(run, stage, threads)
    // The process itself is there already.
    const needed = plan.peak - plan.process
    if (needed <= available) continue
    const names = Object.keys(REMEDIES) as (keyof typeof REMEDIES)[]
    const largest = names.reduce((a, b) => (plan[b] > plan[a] ? b : a))
    const other = wish === null ? ', or another stage by --stage' : ''
    throw new InputError(
      `${describePlan(stage, plan)}. Only ${megabytes(available)} MB are free here: ` +
        `start the run with ${REMEDIES[largest]}${other}.`,
    )
  }
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(0)
}
