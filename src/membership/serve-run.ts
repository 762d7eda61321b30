/** Serves a procedure to those peers of the same run that may ask. Refused questions are written to the journal. */
import { ProtocolError } from '../../protocols/errors.ts'
import { checkRun, type Successor } from '../../protocols/membership.ts'
import type { Network, PeerId } from '../../protocols/network.ts'
import { type Procedure, type Service, serve } from '../../protocols/procedure.ts'
import type { Journal } from '../base/journal.ts'
import { ASKERS, type Border, checkAsker } from './border.ts'
import type { Conduct } from './conduct.ts'

/** A run that was resharded, and its successor. */
export interface Ancestor {
  readonly id: string
  readonly successor: Successor
}

/** The run whose questions are served. */
export interface RunContext {
  readonly network: Network
  readonly runId: string
  readonly journal: Journal
  /** Who is who. Left out where any guest may ask. */
  readonly border?: Border
  /** Bounds what other peers may cost. Left out: nothing is bounded. */
  readonly conduct?: Conduct
  /** The runs before this one, each of which became the next one by resharding. */
  readonly ancestors?: readonly Ancestor[]
}

/**
 * Serves a procedure. Each question must name this run, and its asker must have the role that `border.ts` says. Gives the
 * function that stops it.
 * @param moved answers a question about an ancestor of this run; if it is left out, such a question is refused with
 *   NOT_MEMBER
 */
export function serveRun<Question extends { run: string }, Answer>(
  { network, runId, journal, border, conduct, ancestors = [] }: RunContext,
  procedure: Procedure<Question, Answer>,
  { accept, serve: answer }: Service<Question, Answer>,
  moved?: (successors: readonly Successor[]) => Answer,
): () => void {
  const { protocol } = procedure
  if (border === undefined && ASKERS.get(protocol) !== 'guest') {
    throw new Error(`${protocol} is not for guests, and nobody checks who asks`)
  }
  const check = (from: PeerId, question: Question) => {
    const { run } = question
    if (successorsOf(ancestors, run).length === 0) {
      checkRun(runId, run)
      if (border !== undefined) checkAsker(border, protocol, from, question as { stage?: unknown })
      return
    }
    const { stages } = ancestors.at(-1)!.successor
    throw new ProtocolError(
      'NOT_MEMBER',
      `run ${run.slice(0, 12)} continues with ${stages} body stages as run ${runId.slice(0, 12)}: use the manifest of that run`,
    )
  }
  return serve(
    network,
    procedure,
    {
      ...(accept && {
        accept: (from: string, question: Question, length: number) => {
          check(from, question)
          conduct?.takesBody(from, length)
          return accept(from, question, length)
        },
      }),
      serve: async (from, question, body) => {
        const successors = successorsOf(ancestors, question.run)
        if (moved !== undefined && successors.length > 0) return { answer: moved(successors) }
        check(from, question)
        await conduct?.turn(from)
        const answered = await answer(from, question, body)
        conduct?.answered(from, answered.body?.byteLength ?? 0)
        return answered
      },
    },
    (from, _, { code, message: reason }) => {
      journal.write({ type: 'refused', from, protocol, code, reason })
      conduct?.refused(from, code)
    },
  )
}

/** Successors of `run` up to this run. The list is empty for this run, and for a run that is not an ancestor of it. */
function successorsOf(ancestors: readonly Ancestor[], run: string): Successor[] {
  const first = ancestors.findIndex(({ id }) => id === run)
  return first < 0 ? [] : ancestors.slice(first).map(({ successor }) => successor)
}
