/** Who is in the swarm, and who holds which stage. */
import { z } from 'zod'
import { ProtocolError } from './errors.ts'
import { procedure } from './procedure.ts'

const peerId = z.string().min(1).max(128)
const address = z.string().max(512)
const run = z.string().max(64)
const count = z.int().nonnegative()

const memberSchema = z.strictObject({
  peer: peerId,
  addresses: z.array(address).max(16),
  /** 0 is the ends, 1..S the body, null a spare. */
  stage: count.nullable(),
})
export type Member = z.infer<typeof memberSchema>

/** The agreed membership. Members stand in order of their joining; the first one coordinates. */
const rosterSchema = z.strictObject({
  epoch: count,
  /** The last step that every holder has applied; 0 before the first. */
  committed: count,
  members: z.array(memberSchema).min(1).max(10_000),
})
export type Roster = z.infer<typeof rosterSchema>

/** A newcomer's request to be let in. Any member answers; one that does not coordinate names who does. */
export const hello = procedure(
  '/gensyn-node/hello/1.0.0',
  z.strictObject({
    run,
    addresses: z.array(address).max(16),
    /** The stage that it insists on, or null for whichever needs a holder most. */
    stage: count.nullable(),
  }),
  z.discriminatedUnion('result', [
    z.strictObject({ result: z.literal('welcome') }),
    /** The one asked is not in the run itself yet. */
    z.strictObject({ result: z.literal('later') }),
    z.strictObject({
      result: z.literal('ask'),
      coordinator: peerId,
      addresses: z.array(address).max(16),
    }),
  ]),
)

/** The coordinator's new roster: whoever hears it drops the step in hand and its gradient sums. */
export const adopt = procedure(
  '/gensyn-node/roster/1.0.0',
  z.strictObject({ run, roster: rosterSchema }),
  z.strictObject({ committed: count }),
)

/** A sign of life, and of progress. */
export const heartbeat = procedure(
  '/gensyn-node/heartbeat/1.0.0',
  z.strictObject({ run, epoch: count }),
  z.strictObject({ epoch: count }),
)

/** A member says goodbye to the coordinator. */
export const leave = procedure(
  '/gensyn-node/leave/1.0.0',
  z.strictObject({ run }),
  z.strictObject({}),
)

/** The coordinator ends the run: every step is made, or it cannot go on. */
export const finish = procedure(
  '/gensyn-node/finish/1.0.0',
  z.strictObject({ run, committed: count, failure: z.string().nullable() }),
  z.strictObject({}),
)

/** @throws ProtocolError WRONG_RUN, in words for the one who asked */
export function checkRun(mine: string, asked: string): void {
  if (asked === mine) return
  throw new ProtocolError(
    'WRONG_RUN',
    `The peer there is in run ${mine.slice(0, 12)}, not ${asked.slice(0, 12)}: take the run.json of its run, or another address.`,
  )
}
