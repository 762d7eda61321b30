/** Serves a procedure to peers of the same run, and journals whatever is turned away. */
import { checkRun } from '../protocols/membership.ts'
import type { Network } from '../protocols/network.ts'
import { type Procedure, type Service, serve } from '../protocols/procedure.ts'
import type { Journal } from './journal.ts'

export interface RunContext {
  readonly network: Network
  readonly runId: string
  readonly journal: Journal
}

export function serveRun<Question extends { run: string }, Answer>(
  { network, runId, journal }: RunContext,
  procedure: Procedure<Question, Answer>,
  { accept, serve: answer }: Service<Question, Answer>,
): () => void {
  return serve(
    network,
    procedure,
    {
      ...(accept && {
        accept: (from: string, question: Question, length: number) => {
          checkRun(runId, question.run)
          return accept(from, question, length)
        },
      }),
      serve: async (from, question, body) => {
        checkRun(runId, question.run)
        return answer(from, question, body)
      },
    },
    (from, protocol, error) =>
      journal.write({ type: 'refused', from, protocol, code: error.code, reason: error.message }),
  )
}
