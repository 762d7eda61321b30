/** Who is in the swarm, and who holds which stage. */
import { deflateRawSync, inflateRawSync } from 'node:zlib'
import { z } from 'zod'
import { ProtocolError } from './errors.ts'
import type { PeerId } from './network.ts'
import { procedure } from './procedure.ts'

/** Members of a roster. */
export const MEMBERS_MAX = 10_000

const peerId = z.string().min(1).max(128)
const addresses = z.array(z.string().max(512)).max(16)
const run = z.string().max(64)
const count = z.int().nonnegative()
/** Tells the processes apart that bear one peer's name one after another: when it started, in ms. */
const session = z.int()
/** What fails together: a host, a subnet, a provider's zone. '' if nothing is known. */
export const DOMAIN_LENGTH = 64
const domain = z.string().max(DOMAIN_LENGTH)

export const memberSchema = z.strictObject({
  /** Given when it is let in, never again to anyone: a process that comes back gets another. */
  id: count,
  peer: peerId,
  session,
  addresses,
  domain,
  /** 0 is the ends, 1..S the body, null a spare. */
  stage: count.nullable(),
  /** False for one that still learns its stage's state from those that hold it: it has no part in any step yet. */
  ready: z.boolean(),
})
export type Member = z.infer<typeof memberSchema>

/** Orders proposals: by round, then by the id of whoever proposes. */
export const ballotSchema = z.strictObject({ round: count, id: count })
export type Ballot = z.infer<typeof ballotSchema>

/** A checkpoint that a swarm was started from: its step, and the SHA-256 of its manifest. */
export const originSchema = z.strictObject({ step: count, sha256: z.string().length(64) })
export type Origin = z.infer<typeof originSchema>

/** What becomes of a run that is cut anew: the same run with so many body stages, from this checkpoint on. */
const successorSchema = z.strictObject({ stages: count.min(1), origin: originSchema })
export type Successor = z.infer<typeof successorSchema>

/** How often a run can be cut anew: each time it has fewer stages. */
const SUCCESSORS_MAX = 64

/** What the swarm has agreed on, as of one epoch. Members stand in the order of their joining. */
const rosterSchema = z.strictObject({
  epoch: count,
  /** The epoch that last emptied the gradient sums: with the step it fences all work. */
  fenceEpoch: count,
  /** What it was started from; null for the run's beginning. */
  origin: originSchema.nullable(),
  /** From this epoch on the run goes on with so many body stages, as a run of its own; null if it goes on as it is. */
  resharded: count.nullable(),
  /** The last step that is decided and not given up since; before the first, the origin's, or 0. */
  committed: count,
  /** Of that step. */
  learningRate: z.number().nonnegative(),
  /** L2 norm of the whole model's mean gradient in that step, before clipping. */
  norm: z.number().nonnegative(),
  /** Training loss of that step, nats a token; null before the first, or if the swarm went back to it and has made none since. */
  loss: z.number().nullable(),
  /** Of the plan that it was made by. */
  version: count,
  /** The member that may propose the next epoch without asking first, and its ballot. */
  coordinator: count,
  ballot: ballotSchema,
  nextId: count,
  members: z.array(memberSchema).min(1).max(MEMBERS_MAX),
})
export type Roster = z.infer<typeof rosterSchema>

/** A newcomer's request to be let in. Any member answers; one that does not coordinate names who does. */
export const hello = procedure(
  '/gensyn-node/hello/4.0.0',
  z.strictObject({
    run,
    addresses,
    session,
    domain,
    /** The stage that it insists on, or null for whichever needs a holder most. */
    stage: count.nullable(),
    /** It was told to go on from a checkpoint: a run that begins anew is not the one that it means. */
    resumes: z.boolean(),
  }),
  z.discriminatedUnion('result', [
    z.strictObject({ result: z.literal('welcome') }),
    /** The one asked is not in the run itself yet. */
    z.strictObject({ result: z.literal('later') }),
    z.strictObject({ result: z.literal('ask'), coordinator: peerId, addresses }),
    /** The run that was asked for goes on with fewer stages: what became of it, one after another. */
    z.strictObject({
      result: z.literal('resharded'),
      successors: z.array(successorSchema).min(1).max(SUCCESSORS_MAX),
    }),
  ]),
)

/** The roster as the one asked knows it, deflated JSON in the body: headers are too small for thousands of members. */
export const roster = procedure(
  '/gensyn-node/roster/5.0.0',
  z.strictObject({ run }),
  z.strictObject({ epoch: count }),
)

/** A sign of life, and of what there is to do. */
export const heartbeat = procedure(
  '/gensyn-node/heartbeat/3.0.0',
  z.strictObject({ run, epoch: count }),
  z.strictObject({
    epoch: count,
    session,
    /** Microbatches that it could work on now: who has none waits for others. */
    queuedWork: count,
  }),
)

/** A member is about to go. The answer comes when its stage is in other hands and it is out of the roster. */
export const leave = procedure(
  '/gensyn-node/leave/2.0.0',
  z.strictObject({
    run,
    reason: z.string().max(256),
    /** It has time: if nobody can take its stage now, it waits for a joiner. */
    patient: z.boolean(),
  }),
  z.strictObject({}),
)

/** The coordinator ends the run: every step is made, or it cannot go on. */
export const finish = procedure(
  '/gensyn-node/finish/1.0.0',
  z.strictObject({ run, committed: count, failure: z.string().nullable() }),
  z.strictObject({}),
)

/** The most that a roster's JSON may take: 10,000 members with two addresses each. */
export const ROSTER_BYTES = 8 * 1024 * 1024

const encoded = new WeakMap<Roster, Uint8Array>()

/** JSON, deflated to a fifth: newcomers come by dozens, and each gets the whole. Once a roster. */
export function encodeRoster(value: Roster): Uint8Array {
  const known = encoded.get(value)
  if (known !== undefined) return known
  const bytes = new Uint8Array(deflateRawSync(JSON.stringify(value)))
  encoded.set(value, bytes)
  return bytes
}

/** @throws ProtocolError BAD_MESSAGE */
export function decodeRoster(from: PeerId, body: Uint8Array = new Uint8Array()): Roster {
  try {
    const text = inflateRawSync(body, { maxOutputLength: ROSTER_BYTES })
    return rosterSchema.parse(JSON.parse(new TextDecoder().decode(text)))
  } catch (cause) {
    throw new ProtocolError('BAD_MESSAGE', `the roster that ${from} sent is none`, { cause })
  }
}

/** @throws ProtocolError WRONG_RUN, in words for the one who asked */
export function checkRun(mine: string, asked: string): void {
  if (asked === mine) return
  throw new ProtocolError(
    'WRONG_RUN',
    `The peer there is in run ${mine.slice(0, 12)}, not ${asked.slice(0, 12)}: take the run.json of its run, or another address.`,
  )
}
