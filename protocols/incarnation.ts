/**
 * Procedures by which a run goes on without a majority. An incarnation is what one history of epochs decides. Members that
 * are left without a majority found the next one, and incarnations that meet become one. These procedures name the run by
 * the id of its manifest, since the asker may be in another incarnation. All others name the incarnation.
 */
import { z } from 'zod'
import { copyNameSchema } from './copies.ts'
import { procedure } from './procedure.ts'
import { addresses, addressText, count, peerId, run } from './schemas.ts'

/** Addresses of a contact. They are few and short, since a header has many contacts. */
export const CONTACT_ADDRESSES = { count: 4, length: 128 } as const
const digest = z
  .string()
  .length(64)
  .regex(/^[!#-[\]-~]+$/)

/** Peers that an incarnation knows of its ancestors, and whose own incarnation it may meet. */
export const ABSENT_MAX = 32

/** Kept copies that a peer tells of. */
export const GATHERED_COPIES_MAX = 128

/** Peers that ask to be let in, of which a peer tells. */
export const GATHERED_NEWCOMERS_MAX = 64

/** What an incarnation was founded from. Its id is the SHA-256 of the run's id and this record. */
const recordSchema = z.strictObject({
  /** 1 for the first incarnation that was founded without a majority; one more for each that follows another. */
  number: count.min(1),
  /** Id of the incarnation before. */
  ancestor: digest,
  /** Committed step that the incarnation was founded from. */
  step: count,
  /** SHA-256 of the founding roster, as it is sent. */
  roster: digest,
})
export type IncarnationRecord = z.infer<typeof recordSchema>

const contactSchema = z.strictObject({
  peer: peerId,
  addresses: z.array(addressText.max(CONTACT_ADDRESSES.length)).max(CONTACT_ADDRESSES.count),
})
export type Contact = z.infer<typeof contactSchema>

/** A run or an incarnation, and the last of its steps that a history has; null if it has all of them. */
export const branchSchema = z.strictObject({
  // The id names a folder of the store of checkpoints.
  id: z
    .string()
    .length(64)
    .regex(/^[0-9a-f]+$/),
  until: count.nullable(),
})
export type Branch = z.infer<typeof branchSchema>

/** Number of branches that a history remembers. States and checkpoints of earlier ones are long gone. */
export const BRANCHES_MAX = 16

/** An incarnation, what came before it, and what its members know of those that are not in it. */
export const lineageSchema = z.strictObject({
  /** Null for the incarnation in which the run was founded. */
  record: recordSchema.nullable(),
  /** Members of its ancestors that were not there when it was founded. */
  absent: z.array(contactSchema).max(ABSENT_MAX),
  /** Its ancestors, the latest last, each with the step from which the next one was founded. */
  branches: z.array(branchSchema).max(BRANCHES_MAX - 1),
})
export type Lineage = z.infer<typeof lineageSchema>

/** The state of a stage that a peer has. */
const heldSchema = z.strictObject({
  stage: count,
  /** Committed step of the state. */
  step: count,
  /** True for a stage that the peer holds and can work on at once. False for a state on its disk. */
  live: z.boolean(),
})
export type HeldState = z.infer<typeof heldSchema>

/** Asks a peer what it has, and whether it has a coordinator. */
export const gather = procedure(
  '/gensyn-node/gather/2.0.0',
  z.strictObject({
    run,
    /** Id of the asker's incarnation. */
    incarnation: digest,
    /** True if the asker coordinates that incarnation, and has no majority. */
    coordinates: z.boolean(),
  }),
  z.strictObject({
    /** Id of the incarnation that the peer is in, or was in last. */
    incarnation: digest,
    lineage: lineageSchema,
    /**
     * `member`: the peer follows a coordinator. `waiting`: it has had no coordinator or no majority for a time that is too
     * short. `undecided`: for long enough, so that it would go on in a new incarnation. `outside`: it is in no roster.
     */
    state: z.enum(['member', 'waiting', 'undecided', 'outside']),
    /** True if the roster names the peer as the coordinator. */
    coordinates: z.boolean(),
    /** The coordinator that the peer follows; null in the other states. */
    coordinator: contactSchema.nullable(),
    /** Latest epoch and committed step that the peer knows. */
    epoch: count,
    committed: count,
    session: z.int(),
    addresses,
    domain: z.string().max(64),
    /** The peer's own stage; null if it has none. */
    held: heldSchema.nullable(),
    /** Complete copies of stages that the peer keeps. */
    copies: z.array(copyNameSchema).max(GATHERED_COPIES_MAX),
    /** Peers in no roster that asked this peer lately to be let in. */
    newcomers: z.array(peerId).max(GATHERED_NEWCOMERS_MAX),
  }),
)
export type GatherAnswer = z.infer<typeof gather.answer>

/**
 * Founds an incarnation together with a peer. The body has the founding roster. A peer that accepts takes part in nothing
 * of its earlier incarnation any more.
 */
export const incarnate = procedure(
  '/gensyn-node/incarnate/3.0.0',
  z.strictObject({ run, lineage: lineageSchema }),
  z.strictObject({}),
)

/** Asks a peer for its incarnation, and tells it of the asker's. */
export const meet = procedure(
  '/gensyn-node/meet/1.0.0',
  z.strictObject({ run, incarnation: digest, committed: count, coordinator: contactSchema }),
  z.strictObject({
    incarnation: digest,
    committed: count,
    /** The coordinator of that incarnation; null if the asked peer knows none. */
    coordinator: contactSchema.nullable(),
  }),
)
export type MeetQuestion = z.infer<typeof meet.question>
export type MeetAnswer = z.infer<typeof meet.answer>

/**
 * From the coordinator of an incarnation that has made fewer steps, to the coordinator of the one that stays: asks whether
 * all its members may come over. After the answer the asker's incarnation is over.
 */
export const supersede = procedure(
  '/gensyn-node/supersede/2.0.0',
  z.strictObject({ run, incarnation: digest, committed: count }),
  z.strictObject({ committed: count, lineage: lineageSchema }),
)

/** From a coordinator without a majority: what the members wait for, for the person at each of them. */
export const minority = procedure(
  '/gensyn-node/minority/1.0.0',
  z.strictObject({ run, reason: z.string().max(2000) }),
  z.strictObject({}),
)

/** From the coordinator: this incarnation is over, and its members enter the one that stays. */
export const superseded = procedure(
  '/gensyn-node/superseded/2.0.0',
  z.strictObject({ run, lineage: lineageSchema, contact: contactSchema }),
  z.strictObject({}),
)
