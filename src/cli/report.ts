/** The results of a run, from its coordinator's journal. The demo's `demo-report.json` contains them. */
import type { Entry } from '../base/journal.ts'

/** One process of a swarm. */
export interface ProcessRecord {
  readonly pid: number
  readonly peer: string
  readonly role: 'ends' | 'body' | 'spare'
  /** Stage that it held last; null for a spare that was never needed. */
  readonly stage: number | null
  /** Exit code, or the name of the signal that ended the process. */
  readonly exit: number | string
}

/** A process that was killed. */
export interface KillRecord {
  readonly signal: string
  readonly pid: number
  readonly peer: string
  readonly stage: number
  /** Last step that was committed before. */
  readonly step: number
}

/** The recovery of one lost stage. */
interface RecoveryRecord {
  readonly stage: number
  readonly strategy: string
  readonly by: string
  readonly donors: Of<'held'>['donors']
  /** Committed step of the weights. */
  readonly ofStep: number
  readonly norms: readonly number[]
  readonly skipped: readonly { readonly strategy: string; readonly reason: string }[]
  readonly bytes: number
  /** Time from the start of the rebuild until the new holder held the stage. */
  readonly seconds: number
  /** Time from the detection of the loss until the stage was held again, in seconds. */
  readonly secondsSinceLoss: number | null
  readonly lossBefore: number | null
  /** Training loss of the first step with the rebuilt stage. */
  readonly lossAfter: number | null
  /** Number of steps with the rebuilt stage until the loss was back; null if it was not back at the end of the run. */
  readonly stepsUntilBack: number | null
}

/** The results of a run. */
export interface RunReport {
  readonly steps: number
  readonly losses: readonly { readonly step: number; readonly loss: number }[]
  readonly evaluations: readonly { readonly step: number; readonly loss: number }[]
  /**
   * True if each step from 1 to the last was committed exactly once, with every microbatch in every stage. Steps that a
   * rollback abandoned do not count: they are committed again. A skipped step counts, without microbatches.
   */
  readonly committedOnce: boolean
  /** Number of steps that were committed without an update, because their data cannot be computed. */
  readonly stepsSkipped: number
  /** Number of steps that rollbacks abandoned. */
  readonly stepsGivenUp: number
  readonly recoveries: readonly RecoveryRecord[]
  readonly aborted: number
  /** Tokens of the lasting steps, divided by the time of all steps that were made. Recoveries are left out. */
  readonly tokensPerSecond: number
}

type Of<Type extends Entry['type']> = Extract<Entry, { type: Type }>

function only<Type extends Entry['type']>(entries: readonly Entry[], type: Type): Of<Type>[] {
  return entries.filter((entry): entry is Of<Type> => entry.type === type)
}

/** Entries of steps, skipped steps or evaluations that no rollback abandoned. */
function lasting<E extends Of<'step' | 'evaluation' | 'skipped'>>(
  entries: readonly Entry[],
  type: E['type'],
): E[] {
  let kept: E[] = []
  for (const entry of entries) {
    if (entry.type === type) kept.push(entry as E)
    if (entry.type === 'rollback') kept = kept.filter(({ step }) => step <= entry.step)
  }
  return kept
}

/** Number of steps over which the loss is averaged, since the loss of a single step is noisy. */
const TREND_STEPS = 5

/** Makes the report of a run from its coordinator's journal. */
export function reportOf(
  entries: readonly Entry[],
  { microbatches, steps: wanted }: { microbatches: number; steps: number },
): RunReport {
  const steps = lasting<Of<'step'>>(entries, 'step')
  const skipped = lasting<Of<'skipped'>>(entries, 'skipped')
  const made = only(entries, 'step')
  const seconds = made.reduce((sum, step) => sum + step.seconds, 0)
  const tokens = steps.reduce((sum, step) => sum + step.tokens, 0)
  return {
    steps: steps.length,
    losses: steps.map(({ step, loss }) => ({ step, loss })),
    evaluations: lasting<Of<'evaluation'>>(entries, 'evaluation').map(({ step, loss }) => ({
      step,
      loss,
    })),
    committedOnce:
      isEachOnce([...steps, ...skipped], wanted) &&
      steps.every(({ counted }) => counted.every((count) => count === microbatches)),
    stepsSkipped: skipped.length,
    stepsGivenUp: made.length - steps.length,
    recoveries: only(entries, 'held')
      .filter(({ cause }) => cause === 'lost')
      .map((held) => recoveryOf(held, made)),
    aborted: only(entries, 'aborted').length,
    tokensPerSecond: seconds > 0 ? tokens / seconds : 0,
  }
}

function isEachOnce(made: readonly { readonly step: number }[], wanted: number): boolean {
  return made.length === wanted && new Set(made.map(({ step }) => step)).size === wanted
}

function recoveryOf(held: Of<'held'>, steps: readonly Of<'step'>[]): RecoveryRecord {
  const { stage, strategy, by, donors, ofStep, norms, skipped, bytes, seconds, secondsSinceLoss } =
    held
  const before = steps.filter(({ at }) => at <= held.at).map(({ loss }) => loss)
  const after = steps.filter(({ at }) => at > held.at).map(({ loss }) => loss)
  const trend = mean(before.slice(-TREND_STEPS))
  // The loss is back when its mean over TREND_STEPS is no higher than the mean before the loss of the stage.
  const back = after.findIndex((_, i) => {
    const window = after.slice(Math.max(0, i + 1 - TREND_STEPS), i + 1)
    return window.length === TREND_STEPS && mean(window) <= trend
  })
  return {
    stage,
    strategy,
    by,
    donors,
    ofStep,
    norms,
    skipped,
    bytes,
    seconds,
    secondsSinceLoss,
    lossBefore: before.length > 0 ? trend : null,
    lossAfter: after[0] ?? null,
    stepsUntilBack: back < 0 ? null : back + 1,
  }
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}
