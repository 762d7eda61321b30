/** Serves a procedure to peers of the same run. Refused questions are written to the journal. */
import { ProtocolError } from '../../protocols/errors.ts'
import { checkRun, type Successor } from '../../protocols/membership.ts'
import type { Network } from '../../protocols/network.ts'
import { type Procedure, type Service, serve } from '../../protocols/procedure.ts'
import type { Journal } from '../base/journal.ts'

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
  /** The runs before this one, each of which became the next one by resharding. */
  readonly ancestors?: readonly Ancestor[]
}

/**
 * Serves a procedure, and checks the run id of each question first. Gives the function that stops it.
 * @param moved answers a question about an ancestor of this run; if it is left out, such a question is refused with
 *   NOT_MEMBER
 */
export function serveRun<Question extends { run: string }, Answer>(
  { network, runId, journal, ancestors = [] }: RunContext,
  procedure: Procedure<Question, Answer>,
  { accept, serve: answer }: Service<Question, Answer>,
  moved?: (successors: readonly Successor[]) => Answer,
): () => void {
  const check = ({ run }: Question) => {
    if (successorsOf(ancestors, run).length === 0) return checkRun(runId, run)
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
          check(question)
          return accept(from, question, length)
        },
      }),
      serve: async (from, question, body) => {
        const successors = successorsOf(ancestors, question.run)
        if (moved !== undefined && successors.length > 0) return { answer: moved(successors) }
        check(question)
        return answer(from, question, body)
      },
    },
    (from, protocol, error) =>
      journal.write({ type: 'refused', from, protocol, code: error.code, reason: error.message }),
  )
}

/** Successors of `run` up to this run. The list is empty for this run, and for a run that is not an ancestor of it. */
function successorsOf(ancestors: readonly Ancestor[], run: string): Successor[] {
  const first = ancestors.findIndex(({ id }) => id === run)
  return first < 0 ? [] : ancestors.slice(first).map(({ successor }) => successor)
}
