/** Serves a procedure to peers of the same run, and journals whatever is turned away. */
import { ProtocolError } from '../../protocols/errors.ts'
import { checkRun, type Successor } from '../../protocols/membership.ts'
import type { Network } from '../../protocols/network.ts'
import { type Procedure, type Service, serve } from '../../protocols/procedure.ts'
import type { Journal } from '../base/journal.ts'

/** A run that was cut anew, and what it became. */
export interface Ancestor {
  readonly id: string
  readonly successor: Successor
}

export interface RunContext {
  readonly network: Network
  readonly runId: string
  readonly journal: Journal
  /** The runs that became this one, one after another. */
  readonly ancestors?: readonly Ancestor[]
}

/** @param moved answers who asks for a run that became this one; without it they are told so as an error */
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
      `run ${run.slice(0, 12)} goes on with ${stages} body stages, as run ${runId.slice(0, 12)}: take the manifest of that`,
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

/** What became of a run, up to this one; none for this one, and for one that it has nothing to do with. */
function successorsOf(ancestors: readonly Ancestor[], run: string): Successor[] {
  const first = ancestors.findIndex(({ id }) => id === run)
  return first < 0 ? [] : ancestors.slice(first).map(({ successor }) => successor)
}
