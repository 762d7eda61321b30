/** Members of the swarm, and the stage of each. */
import { deflateRawSync, inflateRawSync } from 'node:zlib'
import { z } from 'zod'
import { ProtocolError } from './errors.ts'
import { lineageSchema } from './incarnation.ts'
import type { PeerId } from './network.ts'
import { procedure } from './procedure.ts'
import { addresses, count, peerId, run } from './schemas.ts'

/** Members of a roster. */
export const MEMBERS_MAX = 10_000

/** Start of a member's process, in milliseconds. Distinguishes successive processes with the same peer id. */
const session = z.int()
/** Length of a failure domain's name, in characters. A domain fails as a whole: a host, a subnet, a zone. '' is unknown. */
export const DOMAIN_LENGTH = 64
const domain = z.string().max(DOMAIN_LENGTH)

/** Length of the name of a network, in characters: the start of an IPv6 address is the longest. */
const HOST_LENGTH = 24

export const memberSchema = z.strictObject({
  /** Assigned when the member joins, and never reused. A restarted process gets another id. */
  id: count,
  peer: peerId,
  session,
  addresses,
  domain,
  /** The network that the member's connection came from when it was let in; '' if that is unknown, or this machine. */
  host: z.string().max(HOST_LENGTH),
  /** Stage that the member holds: 0 is the ends, 1..S the body, null a spare. */
  stage: count.nullable(),
  /** False while a new replica fetches the state of its stage. The replica takes no part in steps until then. */
  ready: z.boolean(),
})
export type Member = z.infer<typeof memberSchema>

/** Orders proposals: by round, then by the id of the proposer. */
export const ballotSchema = z.strictObject({ round: count, id: count })
export type Ballot = z.infer<typeof ballotSchema>

/** Checkpoint from which a swarm was started: its step, and the SHA-256 of its manifest. */
export const originSchema = z.strictObject({ step: count, sha256: z.string().length(64) })
export type Origin = z.infer<typeof originSchema>

/** Run that continues a resharded run: the same run with another number of body stages, from this checkpoint on. */
const successorSchema = z.strictObject({ stages: count.min(1), origin: originSchema })
export type Successor = z.infer<typeof successorSchema>

/** Number of times that a run can be resharded. Each time has fewer stages. */
const SUCCESSORS_MAX = 64

/** State that the swarm has agreed on in one epoch. Members are in the order of joining. */
export const rosterSchema = z.strictObject({
  epoch: count,
  /** Epoch that last reset the gradient sums. Together with the step it fences all work. */
  fenceEpoch: count,
  /** Checkpoint from which the swarm was started; null for a new run. */
  origin: originSchema.nullable(),
  /** Number of body stages of the run that continues this one after resharding; null without resharding. */
  resharded: count.nullable(),
  /** Last committed step. Before the first commit the step of the origin, or 0. A rollback lowers it. */
  committed: count,
  /** Learning rate of the committed step. */
  learningRate: z.number().nonnegative(),
  /** L2 norm of the whole model's mean gradient in the committed step, before clipping. */
  norm: z.number().nonnegative(),
  /** Training loss of the committed step, in nats a token. Null before the first step and after a rollback. */
  loss: z.number().nullable(),
  /** Version of the plan of the committed step. */
  version: count,
  /** Id of the member that may propose the next epoch without a promise, under `ballot`. */
  coordinator: count,
  ballot: ballotSchema,
  /** Id of the next member. */
  nextId: count,
  members: z.array(memberSchema).min(1).max(MEMBERS_MAX),
})
export type Roster = z.infer<typeof rosterSchema>

/**
 * How much a peer that is in no roster may found the run, the strongest claim first. `insists`: its user said so. `may`: it
 * is new, and has no bootstrap address. `last`: it has bootstrap addresses, so that the run should exist elsewhere.
 * `never`: it was in the run before.
 */
export const CLAIMS = ['insists', 'may', 'last', 'never'] as const
const claim = z.enum(CLAIMS)
export type Claim = z.infer<typeof claim>

/** A peer's request to join. Any member answers. A member that is not the coordinator names the coordinator. */
export const hello = procedure(
  '/gensyn-node/hello/7.0.0',
  z.strictObject({
    run,
    addresses,
    session,
    domain,
    /** Required stage; null for the stage that needs a holder most. */
    stage: count.nullable(),
    /** True if the peer was told to resume from a checkpoint, so that a swarm without one must refuse the peer. */
    resumes: z.boolean(),
    claim,
    /** Id of the incarnation that the peer asks to enter. */
    incarnation: z.string().max(64),
  }),
  z.discriminatedUnion('result', [
    /** The asked peer coordinates the run, of which this many steps are committed. */
    z.strictObject({ result: z.literal('welcome'), committed: count }),
    /** The asked peer is in no roster itself (with its claim), or changes its coordinator just now (with null). */
    z.strictObject({ result: z.literal('later'), claim: claim.nullable() }),
    z.strictObject({ result: z.literal('ask'), coordinator: peerId, addresses }),
    /** The asked peer is in another incarnation. */
    z.strictObject({ result: z.literal('moved'), lineage: lineageSchema }),
    /** The run was resharded: the runs that continue it, in order. */
    z.strictObject({
      result: z.literal('resharded'),
      successors: z.array(successorSchema).min(1).max(SUCCESSORS_MAX),
    }),
  ]),
)

/** To the coordinator: others can reach this member at these addresses now. The next roster says so. */
export const moved = procedure(
  '/gensyn-node/moved/1.0.0',
  z.strictObject({ run, session, addresses }),
  z.strictObject({}),
)

/** Roster of the asked member, as deflated JSON in the body. A header is too small for thousands of members. */
export const roster = procedure(
  '/gensyn-node/roster/7.0.0',
  z.strictObject({ run }),
  z.strictObject({
    epoch: count,
    /** Id of the incarnation whose roster it is, which takes the place of the run's id in other questions. */
    incarnation: z.string().max(64),
  }),
)

/** Asks a member who a peer is, as far as that member knows. */
export const vouch = procedure(
  '/gensyn-node/vouch/1.0.0',
  z.strictObject({ run, peer: peerId }),
  z.strictObject({
    /** `coordinator`: the roster names the peer, or the asked member has given it a promise in this epoch. */
    role: z.enum(['coordinator', 'member', 'none']),
  }),
)

/** Checks that a member is alive, and asks for its work. */
export const heartbeat = procedure(
  '/gensyn-node/heartbeat/4.0.0',
  z.strictObject({ run, epoch: count }),
  z.strictObject({
    epoch: count,
    session,
    /** Number of microbatches that the member could work on now. A member with none waits for others. */
    queuedWork: count,
    /** Milliseconds for which the member has worked on its present microbatch; 0 if it works on none. */
    workingMs: count,
  }),
)

/** Announces that a member leaves. The answer comes when the roster omits the member. */
export const leave = procedure(
  '/gensyn-node/leave/3.0.0',
  z.strictObject({
    run,
    reason: z.string().max(256),
    /**
     * Milliseconds until the member stops in any case. It waits so long for a member that can take its stage. Null if it
     * waits for no joiner.
     */
    withinMs: z.number().nonnegative().nullable(),
  }),
  z.strictObject({}),
)

/** Longest reason why a run ends, in characters. */
export const FAILURE_LENGTH = 2000

/** From the coordinator: the run ends, because every step is committed or because training cannot continue. */
export const finish = procedure(
  '/gensyn-node/finish/2.0.0',
  z.strictObject({ run, committed: count, failure: z.string().max(FAILURE_LENGTH).nullable() }),
  z.strictObject({}),
)

/** Largest JSON of a roster, in bytes: enough for 10,000 members with two addresses each. */
export const ROSTER_BYTES = 8 * 1024 * 1024

const encoded = new WeakMap<Roster, Uint8Array>()

/**
 * Encodes a roster as JSON, deflated to about a fifth. The bytes are cached, since dozens of new members need the same
 * roster.
 */
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
    throw new ProtocolError('BAD_MESSAGE', `the roster of ${from} is invalid`, { cause })
  }
}

/** @throws ProtocolError WRONG_RUN if the runs differ; the message addresses the user of the asking peer */
export function checkRun(mine: string, asked: string): void {
  if (asked === mine) return
  throw new ProtocolError(
    'WRONG_RUN',
    `The peer there is in run ${short(mine)}, not ${short(asked)}: take the run.json of its run, or another address.`,
  )
}

/** The first digits of a run's id. Other text, such as that about an incarnation, stays whole. */
function short(run: string): string {
  return /^[0-9a-f]{64}$/.test(run) ? run.slice(0, 12) : run.slice(0, 64)
}
