/**
 * Procedures between two foundings of one run. Peers that cannot see each other at their start may found the run twice.
 * When the two coordinators meet, one founding stays: the one with more committed steps, and of equal ones the one whose
 * coordinator has the smaller peer id.
 */
import { z } from 'zod'
import { procedure } from './procedure.ts'
import { count, run } from './schemas.ts'

const peerId = z.string().min(1).max(128)
const addresses = z.array(z.string().max(512)).max(16)

/** From a coordinator to a peer that its roster does not name. */
export const compareFoundings = procedure(
  '/gensyn-node/compare-foundings/1.0.0',
  z.strictObject({
    run,
    /** Committed step of the asker's founding. */
    committed: count,
  }),
  z.discriminatedUnion('result', [
    /** The asked peer is in no roster. */
    z.strictObject({ result: z.literal('none') }),
    /** The asked peer is a member. Its coordinator knows the answer. */
    z.strictObject({ result: z.literal('ask'), coordinator: peerId, addresses }),
    /** The asked peer cannot decide now, because it asks the same question, or because its coordinator changes. */
    z.strictObject({ result: z.literal('wait') }),
    /** The asker's founding stays. The asked peer asks in its turn, and gives its own up. */
    z.strictObject({ result: z.literal('stay') }),
    /** The founding of the asked peer stays. The asker gives its own up. */
    z.strictObject({ result: z.literal('join'), committed: count, addresses }),
  ]),
)
export type CompareQuestion = z.infer<typeof compareFoundings.question>
export type CompareAnswer = z.infer<typeof compareFoundings.answer>

/** From the coordinator of a founding that is given up, to its members: they enter the run through this peer. */
export const moveOver = procedure(
  '/gensyn-node/move-over/1.0.0',
  z.strictObject({ run, peer: peerId, addresses, reason: z.string().max(512) }),
  z.strictObject({}),
)
