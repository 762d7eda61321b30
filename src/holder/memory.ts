/** Estimates the memory that a stage will take on this machine, and refuses a stage that cannot fit. */
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

/** Memory of a node that holds one stage, in bytes by purpose. */
interface NodePlan extends MemoryPlan {
  /** State of the next stage, and total gradients of both stages; 0 unless the policy has `redundant`. */
  readonly second: number
  /** Copy of weights and moments that a checkpoint is written from; 0 unless the policy has `checkpoint`. */
  readonly checkpoint: number
  /** Copy of weights and moments while it is written to this peer's disk; 0 if the run writes none. */
  readonly disk: number
  /** Copy of this stage while it is made and sent to its keepers, and the copies of other stages that this peer keeps. */
  readonly copies: number
}

/** @param threads threads of the stage's sessions */
export function planOf(run: Run, stage: number, threads: number): NodePlan {
  const plan = (index: number) =>
    planMemory(stageConfig(run), index, { threads, microbatches: run.microbatches })
  const own = plan(stage)
  const checkpoint = run.recovery.policy.includes('checkpoint') ? own.weights + own.optimizer : 0
  const disk = run.recovery.kept.everySteps > 0 ? own.weights + own.optimizer : 0
  const copies = copiesOf(run, stage, plan)
  const more = { checkpoint, disk, copies, peak: own.peak + checkpoint + disk + copies }
  const next = secondStage(run, stage)
  if (next === null) return { ...own, ...more, second: 0 }
  // Only the optimizer's program of the second stage runs, so the second stage needs no working memory.
  const { weights, sums, optimizer } = plan(next)
  const second = weights + sums + optimizer + weights + own.weights
  return { ...own, ...more, second, peak: more.peak + second }
}

/** Bytes of copies in a run with one holder for each stage. A peer keeps the most copies then. */
function copiesOf(run: Run, stage: number, plan: (stage: number) => MemoryPlan): number {
  const members = Array.from({ length: run.stages + 1 }, (_, id) => ({
    id,
    peer: `${id}`,
    session: 0,
    addresses: [],
    domain: '',
    host: '',
    stage: id,
    ready: true,
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
      // While one more is being received.
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

/** Describes a plan in one line: the peak and its parts, in megabytes. */
export function describePlan(stage: number, plan: NodePlan): string {
  const { weights, sums, optimizer, inFlight, working, process, peak } = plan
  const { second, checkpoint, disk, copies } = plan
  const parts = {
    weights,
    'gradient sums': sums,
    optimizer,
    'in flight': inFlight,
    working,
    process,
    ...(second > 0 && { 'redundant state of the next stage': second }),
    ...(checkpoint > 0 && { 'copy for checkpoints': checkpoint }),
    ...(disk > 0 && { 'copy for the disk': disk }),
    ...(copies > 0 && { 'copies of stages': copies }),
  }
  const shown = Object.entries(parts).map(([name, bytes]) => `${name} ${megabytes(bytes)}`)
  return `stage ${stage} will take about ${megabytes(peak)} MB: ${shown.join(', ')}`
}

/** For each part of a plan, how the user can make it smaller. */
const REMEDIES: Readonly<Record<Exclude<keyof NodePlan, 'peak' | 'process'>, string>> = {
  weights: 'more --stages, or a smaller --hidden',
  sums: 'more --stages, or a smaller --hidden',
  optimizer: 'more --stages, a smaller --hidden, or "kind": "sgd" in the manifest\'s optimizer',
  inFlight: '"keep": "none" in the manifest, fewer --microbatches, or a smaller --batch',
  working: 'a smaller --batch or --context, or fewer --threads',
  second: 'more --stages, a smaller --hidden, or a --policy without redundant',
  checkpoint: 'more --stages, a smaller --hidden, or a --policy without checkpoint',
  disk: 'more --stages, a smaller --hidden, or "kept": {"everySteps": 0} in the manifest\'s recovery',
  copies:
    'more --stages, a smaller --hidden, or a --policy without shadow, snapshot and checkfree+',
}

/**
 * Refuses a run whose stage needs more memory than there is.
 * @param wish the stage that the user asked for; null if it may be any
 * @param available bytes that this process can still allocate
 * @throws InputError with the estimate, and the setting to change
 */
export function refuseWhatCannotFit(
  run: Run,
  wish: number | null,
  threads: number,
  available: number,
): void {
  for (const stage of wish === null ? [ENDS, ENDS + 1] : [wish]) {
    const plan = planOf(run, stage, threads)
    // The memory of the process itself is allocated already.
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
