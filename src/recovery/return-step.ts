/**
 * Decides from which step a swarm continues of which every process ended: the peers that came back offer what is on their
 * disks. The decision is a pure function of the offers, so that every peer decides alike.
 */
import { type Holding, KEPT } from '../../protocols/copies.ts'
import type { Branch } from '../../protocols/incarnation.ts'
import type { PeerId } from '../../protocols/network.ts'
import { choose, isOfOwnState, rowsOf, withDisks } from './index.ts'
import type { RecoverySettings } from './settings.ts'

/** A state on the disk of a peer that came back. */
export interface Offer extends Holding {
  readonly peer: PeerId
}

/** The settings of a run that the decision depends on. */
export interface ReturnRules {
  /** Number of body stages. */
  readonly stages: number
  readonly recovery: RecoverySettings & { readonly policy: readonly string[] }
}

/** The step from which a swarm continues. */
export interface ReturnStep {
  readonly step: number
  /** Training loss of the step; null if only copies are of it. */
  readonly loss: number | null
  /** Stages that are exactly as after the step on some disk. */
  readonly exact: readonly number[]
  /** Stages without a recent state of their own. Another strategy of the policy makes their weights. */
  readonly missing: readonly number[]
  /** For each stage that nothing brings back, the reasons. */
  readonly refused: readonly string[]
}

/** Tells whether a state belongs to the history that is continued. */
export function isOfLineage(lineage: readonly Branch[], { run, step }: Holding): boolean {
  return lineage.some(({ id, until }) => id === run && (until === null || step <= until))
}

/**
 * Finds the step that loses least: the fewest stages that nothing brings back, then the fewest without a state of their
 * own, then the fewest whose state is of an earlier step, then the latest step. So it is the newest step of which every
 * stage is left, if there is one.
 * @returns null without any offer
 */
export function returnStep(rules: ReturnRules, offers: readonly Offer[]): ReturnStep | null {
  const steps = [...new Set(offers.map(({ step }) => step))].sort((a, b) => b - a)
  let best: ReturnStep | null = null
  for (const step of steps) {
    const candidate = returnTo(step, rules, offers)
    if (best === null || losesLess(candidate, best)) best = candidate
  }
  return best
}

/** True if `a` loses less than `b`, which is of a later step. */
function losesLess(a: ReturnStep, b: ReturnStep): boolean {
  if (a.refused.length !== b.refused.length) return a.refused.length < b.refused.length
  if (a.missing.length !== b.missing.length) return a.missing.length < b.missing.length
  return a.exact.length > b.exact.length
}

function returnTo(step: number, { stages, recovery }: ReturnRules, offers: readonly Offer[]) {
  const all = Array.from({ length: stages + 1 }, (_, stage) => stage)
  const copies = offers.filter((offer) => offer.step <= step)
  const lossOf = (stage: number, live: ReadonlySet<number>) => {
    // Whether a store has a checkpoint is found out later. Until then it may bring every stage back.
    return { stage, bodyStages: stages, live, copies, committed: step, noCheckpoint: null }
  }
  const own = (stage: number) => {
    const loss = { ...lossOf(stage, new Set()), isLastResort: false }
    const rows = rowsOf(withDisks(recovery.policy, loss))
    const ofOwnState = rows.filter((row) => isOfOwnState(row) && row.name !== 'checkpoint')
    return ofOwnState.some((row) => !('reason' in row.donors(loss, recovery)))
  }
  const left = new Set(all.filter(own))
  const missing = all.filter((stage) => !left.has(stage))
  const refused = missing.flatMap((stage) => {
    const loss = lossOf(stage, left)
    const { chosen, skipped } = choose(withDisks(recovery.policy, loss), loss, recovery)
    if (chosen !== null) return []
    const reasons = skipped.map(({ strategy, reason }) => `${strategy}: ${reason}`)
    return [`stage ${stage} (${reasons.join('; ')})`]
  })
  const ofStep = copies.filter((copy) => copy.strategy === KEPT && copy.step === step)
  const exact = all.filter((stage) => ofStep.some((copy) => copy.stage === stage))
  const loss = ofStep.find((copy) => copy.loss !== null)?.loss ?? null
  return { step, loss, exact, missing, refused }
}
