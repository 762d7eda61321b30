/**
 * Procedures that find out which members can talk to each other. The coordinator asks before it gives a member a stage, and
 * when a microbatch did not get from one holder to the next.
 */
import { z } from 'zod'
import { procedure } from './procedure.ts'
import { count, run } from './schemas.ts'

/** Peers that one question may name. */
export const REACH_MAX = 16

/** Longest text of a reason or of a notice, in characters. */
export const NOTICE_LENGTH = 600

/** Length of a probe in bytes. It fills several packets, so that a path that loses only large packets is found, too. */
export const PROBE_BYTES = 4096

/** Asks a member to send a probe to each of these peers, and to tell which ones did not answer. */
export const reach = procedure(
  '/gensyn-node/reach/1.0.0',
  z.strictObject({
    run,
    peers: z.array(z.string().min(1).max(128)).min(1).max(REACH_MAX),
    /** Deadline of each probe, in milliseconds. */
    probeMs: count.min(1).max(60_000),
    /** True if a standing connection is to end that gives no answer, so that the next message dials anew. */
    hangUp: z.boolean(),
  }),
  z.strictObject({
    /** Peers that did not answer, each with the reason. */
    failures: z
      .array(
        z.strictObject({
          peer: z.string().min(1).max(128),
          reason: z.string().max(NOTICE_LENGTH),
        }),
      )
      .max(REACH_MAX),
  }),
)

/** A message of {@link PROBE_BYTES} bytes that only asks for an answer. */
export const probe = procedure(
  '/gensyn-node/probe/1.0.0',
  z.strictObject({ run, padding: z.string().max(PROBE_BYTES) }),
  z.strictObject({}),
)

/** From the coordinator: what all members should know, as a sentence for people. */
export const notice = procedure(
  '/gensyn-node/notice/1.0.0',
  z.strictObject({ run, message: z.string().max(NOTICE_LENGTH) }),
  z.strictObject({}),
)
