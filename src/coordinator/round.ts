/** One round of questions to members. Its questions are given up together when the round is interrupted. */
import { ProtocolError } from '../../protocols/errors.ts'
import type { AcceptBody, Network, PeerId } from '../../protocols/network.ts'
import { ask, type Procedure, type WithBody } from '../../protocols/procedure.ts'
import type { ReportQuestion } from '../../protocols/step.ts'
import { isHolder } from '../membership/roster.ts'
import type { Health } from './health.ts'

export interface RoundOptions {
  readonly network: Network
  readonly health: Health
  /** Hears of microbatches that do not get on. */
  readonly onReport?: ((from: PeerId, report: ReportQuestion) => void) | undefined
}

export class Round {
  readonly #options: RoundOptions
  readonly #interrupted = new AbortController()
  readonly #removeListener: () => void

  /** A holder that is lost and still in the roster interrupts the round at once. */
  constructor(options: RoundOptions) {
    const { health } = options
    this.#options = options
    this.#removeListener = health.onHolderLost((reason) => this.interrupt(reason))
    const isHolderLost = health.lost.members.some(isHolder)
    if (isHolderLost) this.interrupt('a holder was lost')
  }

  /** Asks a member. A member that may be gone is asked for a sign of life before the failure is told. */
  async ask<Question, Answer>(
    peer: PeerId,
    what: Procedure<Question, Answer>,
    question: Question,
    timeoutMs: number,
    bodies: WithBody & { readonly accept?: AcceptBody } = {},
  ): Promise<Answer> {
    const { signal } = this.#interrupted
    return askMember(this.#options, peer, what, question, { ...bodies, timeoutMs, signal })
  }

  report(from: PeerId, report: ReportQuestion): void {
    this.#options.onReport?.(from, report)
  }

  /** All open questions of this round reject with PEER_LOST. */
  interrupt(reason: string): void {
    this.abort(new ProtocolError('PEER_LOST', reason))
  }

  /** All open questions of this round reject with this error. */
  abort(reason: Error): void {
    this.#interrupted.abort(reason)
  }

  /** The round has its answers: losses do not interrupt it any more. */
  end(): void {
    this.#removeListener()
  }
}

/** Asks a member. A member that may be gone is asked for a sign of life before the failure is told. */
export async function askMember<Question, Answer>(
  { network, health }: Pick<RoundOptions, 'network' | 'health'>,
  peer: PeerId,
  what: Procedure<Question, Answer>,
  question: Question,
  options: WithBody & {
    readonly accept?: AcceptBody
    readonly timeoutMs: number
    readonly signal: AbortSignal
  },
): Promise<Answer> {
  try {
    const answer = await ask(network, peer, what, question, options)
    health.heard(peer)
    return answer
  } catch (error) {
    if (error instanceof ProtocolError && isSuspicious(error) && !options.signal.aborted) {
      await health.suspect(peer, error.message)
    }
    throw error
  }
}

/** A failure that may mean that the peer is gone. */
export function isSuspicious(error: ProtocolError): boolean {
  return !error.definite || error.code === 'UNREACHABLE'
}
