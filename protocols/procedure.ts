/** A procedure: one question and its answer over `Network.call`, each checked against a schema on arrival. */
import type { z } from 'zod'
import { ProtocolError } from './errors.ts'
import type { AcceptBody, CallOptions, Json, Network, PeerId } from './network.ts'

export interface Procedure<Question, Answer> {
  /** libp2p protocol id, with its version. */
  readonly protocol: string
  readonly question: z.ZodType<Question>
  readonly answer: z.ZodType<Answer>
}

/** Body of a question or an answer. Most procedures have none. */
export interface WithBody {
  readonly body?: Uint8Array | undefined
}

export interface Service<Question, Answer> {
  /** Memory for the question's body. @throws ProtocolError to refuse the body */
  accept?(from: PeerId, question: Question, length: number): Uint8Array
  serve(
    from: PeerId,
    question: Question,
    body: Uint8Array | undefined,
  ): Promise<{ answer: Answer } & WithBody>
}

export function procedure<Question, Answer>(
  protocol: string,
  question: z.ZodType<Question>,
  answer: z.ZodType<Answer>,
): Procedure<Question, Answer> {
  return { protocol, question, answer }
}

function parse<T>(schema: z.ZodType<T>, value: unknown, what: string): T {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const issue = result.error.issues[0]!
  throw new ProtocolError(
    'BAD_MESSAGE',
    `${what}: ${issue.path.join('.') || 'message'}: ${issue.message}`,
  )
}

/**
 * Asks one peer, and waits at most `timeoutMs` for the answer.
 * @throws ProtocolError as `Network.call`; BAD_MESSAGE if the answer does not fit its schema
 */
export async function ask<Question, Answer>(
  network: Network,
  peer: PeerId,
  { protocol, answer }: Procedure<Question, Answer>,
  question: Question,
  { body, ...options }: CallOptions & WithBody & { accept?: AcceptBody | undefined },
): Promise<Answer> {
  const received = await network.call(peer, protocol, { header: question as Json, body }, options)
  return parse(answer, received.header, `answer of ${peer} on ${protocol}`)
}

/**
 * Serves a procedure.
 * @param refused called for every question that was not worked on; not for work that began and failed
 * @returns ends the service
 */
export function serve<Question, Answer>(
  network: Network,
  { protocol, question }: Procedure<Question, Answer>,
  service: Service<Question, Answer>,
  refused: (from: PeerId, protocol: string, error: ProtocolError) => void,
): () => void {
  const tell = (from: PeerId, error: unknown): never => {
    if (error instanceof ProtocolError && error.definite) refused(from, protocol, error)
    throw error
  }
  // Headers that `accept` has checked are not checked again by `handle`: a long route takes longer to check than to send.
  const accepted = new WeakMap<object, Question>()
  return network.handle(protocol, {
    ...(service.accept && {
      accept(from, header, length) {
        try {
          const parsed = parse(question, header, protocol)
          if (typeof header === 'object' && header !== null) accepted.set(header, parsed)
          return service.accept!(from, parsed, length)
        } catch (error) {
          return tell(from, error)
        }
      },
    }),
    async handle(from, message) {
      try {
        const parsed =
          accepted.get(message.header as object) ?? parse(question, message.header, protocol)
        const { answer, body } = await service.serve(from, parsed, message.body)
        return { header: answer as Json, body }
      } catch (error) {
        return tell(from, error)
      }
    },
  })
}
