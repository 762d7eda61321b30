/** Messages of a holder to the coordinator. Nothing depends on them: the coordinator's deadlines cover their loss. */
import type { Roster } from '../../protocols/membership.ts'
import type { Network } from '../../protocols/network.ts'
import { ask, type Procedure } from '../../protocols/procedure.ts'
import { type LearntQuestion, learnt, report } from '../../protocols/step.ts'
import { TIMEOUTS } from '../base/limits.ts'
import { coordinatorOf } from '../membership/roster.ts'
import type { Trouble } from './pipeline.ts'

/** Longest reason that a message may carry, in characters. */
const REASON_MAX = 2000

export interface TellContext {
  readonly network: Network
  readonly runId: string
  readonly signal: AbortSignal
  /** Null while this peer is in none. */
  roster(): Roster | null
}

/** A microbatch could not be worked on or sent on. */
export function tellTrouble(context: TellContext, { header, to, error }: Trouble): Promise<void> {
  const { epoch, step, index, attempt } = header
  const { code, message } = error
  const reason = message.slice(0, REASON_MAX)
  const question = { run: context.runId, epoch, step, index, attempt, to, code, reason }
  return tell(context, report, question)
}

/** A new replica is synchronized, or cannot be. */
export function tellLearnt(
  context: TellContext,
  facts: Omit<LearntQuestion, 'run'>,
): Promise<void> {
  const failure = facts.failure?.slice(0, REASON_MAX) ?? null
  return tell(context, learnt, { run: context.runId, ...facts, failure })
}

async function tell<Question, Answer>(
  { network, signal, roster }: TellContext,
  procedure: Procedure<Question, Answer>,
  question: Question,
): Promise<void> {
  const known = roster()
  if (known === null) return
  const options = { timeoutMs: TIMEOUTS.reportMs, signal }
  await ask(network, coordinatorOf(known).peer, procedure, question, options).catch(() => {})
}
