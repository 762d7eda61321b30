/** What a run came to, made from its coordinator's journal: the demo's `demo-report.json` (docs/demo-report.md). */
import type { Entry } from '../base/journal.ts'

export interface ProcessRecord {
  readonly pid: number
  readonly peer: string
  readonly role: 'ends' | 'body' | 'spare'
  /** The stage that it held last; null for a spare that was never needed. */
  readonly stage: number | null
  /** Exit code, or the name of the signal that ended it. */
  readonly exit: number | string
}

export interface KillRecord {
  readonly signal: string
  readonly pid: number
  readonly peer: string
  readonly stage: number
  /** The last step that was committed before. */
  readonly step: number
}

interface RecoveryRecord {
  readonly stage: number
  readonly strategy: string
  readonly by: string
  readonly donors: Of<'held'>['donors']
  /** The committed step that the weights are of. */
  readonly ofStep: number
  readonly norms: readonly number[]
  readonly skipped: readonly { readonly strategy: string; readonly reason: string }[]
  readonly bytes: number
  /** From the start of the rebuilding peer's work until it held the stage. */
  readonly seconds: number
  /** From noticing the loss until the stage was held again. */
  readonly secondsSinceLoss: number | null
  readonly lossBefore: number | null
  /** Training loss of the first step made with the rebuilt stage. */
  readonly lossAfter: number | null
  /** Steps made with the rebuilt stage until the loss was back; null if it was not by the end. */
  readonly stepsUntilBack: number | null
}

export interface RunReport {
  readonly steps: number
  readonly losses: readonly { readonly step: number; readonly loss: number }[]
  readonly evaluations: readonly { readonly step: number; readonly loss: number }[]
  /**
   * True if the journal commits each step from 1 to the last exactly once, with every microbatch in every stage. What was
   * given up by going back to a checkpoint does not count: its steps are committed again.
   */
  readonly committedOnce: boolean
  /** Steps that were given up by going back to a checkpoint. */
  readonly stepsGivenUp: number
  readonly recoveries: readonly RecoveryRecord[]
  readonly aborted: number
  /** Tokens of the steps that count over the time of all that were made, that of recoveries left out. */
  readonly tokensPerSecond: number
}

type Of<Type extends Entry['type']> = Extract<Entry, { type: Type }>

function only<Type extends Entry['type']>(entries: readonly Entry[], type: Type): Of<Type>[] {
  return entries.filter((entry): entry is Of<Type> => entry.type === type)
}

/** The steps, or evaluations, that count: those after a checkpoint that the swarm went back to are given up. */
function lasting<E extends Of<'step' | 'evaluation'>>(
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

/** Steps over which the loss before a failure is averaged: single microbatches are noisy. */
const TREND_STEPS = 5

export function reportOf(
  entries: readonly Entry[],
  { microbatches, steps: wanted }: { microbatches: number; steps: number },
): RunReport {
  const steps = lasting<Of<'step'>>(entries, 'step')
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
      steps.length === wanted &&
      steps.every(
        ({ step, counted }, i) =>
          step === i + 1 && counted.every((count) => count === microbatches),
      ),
    stepsGivenUp: made.length - steps.length,
    recoveries: only(entries, 'held')
      .filter(({ cause }) => cause === 'lost')
      .map((held) => recoveryOf(held, made)),
    aborted: only(entries, 'aborted').length,
    tokensPerSecond: seconds > 0 ? tokens / seconds : 0,
  }
}

function recoveryOf(held: Of<'held'>, steps: readonly Of<'step'>[]): RecoveryRecord {
  const { stage, strategy, by, donors, ofStep, norms, skipped, bytes, seconds, secondsSinceLoss } =
    held
  const before = steps.filter(({ at }) => at <= held.at).map(({ loss }) => loss)
  const after = steps.filter(({ at }) => at > held.at).map(({ loss }) => loss)
  const trend = mean(before.slice(-TREND_STEPS))
  // Back is: the mean of so many steps is no worse than that of the steps before the loss.
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
