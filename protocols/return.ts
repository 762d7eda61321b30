/**
 * Procedures by which a run continues of which every process ended. Its peers start again, are in no roster, and ask each
 * other what is on their disks. They name the run by the id of its manifest, since they are in no incarnation yet.
 */
import { deflateRawSync, inflateRawSync } from 'node:zlib'
import { z } from 'zod'
import { holdingSchema } from './copies.ts'
import { ProtocolError } from './errors.ts'
import { BRANCHES_MAX, branchSchema, lineageSchema } from './incarnation.ts'
import { DOMAIN_LENGTH, ROSTER_BYTES, rosterSchema } from './membership.ts'
import type { PeerId } from './network.ts'
import { procedure } from './procedure.ts'
import { addresses, count, peerId, run } from './schemas.ts'

/** Peers that an answer names. */
export const OTHERS_MAX = 32

/** States on a disk that an answer names. */
const HOLDINGS_MAX = 4096

/** What a peer's disk has of its run beside the states of stages. */
export const historySchema = z.strictObject({
  /** The branches of the history, the present one last. */
  branches: z.array(branchSchema).min(1).max(BRANCHES_MAX),
  /** The incarnation that the peer was in. */
  lineage: lineageSchema,
  /** The roster after the last step that was written to the disk. */
  roster: rosterSchema,
})
export type History = z.infer<typeof historySchema>

const offerSchema = z.strictObject({
  /** Null if the disk has no states. */
  history: historySchema.nullable(),
  holdings: z.array(holdingSchema).max(HOLDINGS_MAX),
})
/** What a peer that came back has on its disk. */
export type DiskOffer = z.infer<typeof offerSchema>

/** Asks a peer whether it is in a roster, and what is on its disk. The body has its offer, as deflated JSON. */
export const offer = procedure(
  '/gensyn-node/offer/4.0.0',
  z.strictObject({ run }),
  z.strictObject({
    /** False for a peer that is in a roster, or that does not search for the run. Such a peer offers nothing. */
    isOutside: z.boolean(),
    /** Last committed step of the roster that the peer is in; 0 if it is in none. */
    committed: count,
    /** Latest epoch of that roster; 0 if the peer is in none. */
    epoch: count,
    session: z.int(),
    addresses,
    domain: z.string().max(DOMAIN_LENGTH),
    /** Peers outside that the asked peer knows. */
    others: z.array(z.strictObject({ peer: peerId, addresses: addresses.max(4) })).max(OTHERS_MAX),
  }),
)

/** Continues the run together with a peer that came back. The body has the roster, encoded as in `roster`. */
export const comeBack = procedure(
  '/gensyn-node/come-back/3.0.0',
  z.strictObject({ run, lineage: lineageSchema }),
  z.strictObject({}),
)

export function encodeOffer(value: DiskOffer): Uint8Array {
  const { holdings } = value
  const text = JSON.stringify({ ...value, holdings: holdings.slice(0, HOLDINGS_MAX) })
  return new Uint8Array(deflateRawSync(text))
}

/** @throws ProtocolError BAD_MESSAGE */
export function decodeOffer(from: PeerId, body: Uint8Array = new Uint8Array()): DiskOffer {
  try {
    const text = inflateRawSync(body, { maxOutputLength: ROSTER_BYTES })
    return offerSchema.parse(JSON.parse(new TextDecoder().decode(text)))
  } catch (cause) {
    throw new ProtocolError('BAD_MESSAGE', `the offer of ${from} is invalid`, { cause })
  }
}
