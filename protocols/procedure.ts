/** A procedure: one question and its answer over `Network.call`, both held to a schema at the border. */
import type { z } from 'zod'
import { ProtocolError } from './errors.ts'
import type { AcceptBody, CallOptions, Json, Network, PeerId } from './network.ts'

export interface Procedure<Question, Answer> {
  /** libp2p protocol id, with its version. */
  readonly protocol: string
  readonly question: z.ZodType<Question>
  readonly answer: z.ZodType<Answer>
}

/** What a body is called on both sides: absent for most procedures. */
export interface WithBody {
  readonly body?: Uint8Array | undefined
}

export interface Service<Question, Answer> {
  /** Where the question's body goes; throws a ProtocolError to refuse it. */
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

/** Asks one peer, and waits for its answer at most `timeoutMs`. */
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

/** Serves a procedure. `refused` hears of every question that was turned away; what was begun and failed is no refusal. */
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
  // What a body was accepted with is checked already when the body is in: a long route takes longer to check than to send.
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
