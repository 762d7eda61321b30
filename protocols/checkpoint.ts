/** Procedure by which holders report the result of their part of a checkpoint. */
import { z } from 'zod'
import { procedure } from './procedure.ts'
import { count, run } from './schemas.ts'

/** To the coordinator: this holder's part of the checkpoint is in the store, or has failed. */
export const saved = procedure(
  '/gensyn-node/saved/1.0.0',
  z.strictObject({
    run,
    step: count,
    /** Epoch that committed the step. After a rollback the same step is committed and saved again. */
    epoch: count,
    /** Reason of a failure; null if the part is in the store. */
    failure: z.string().max(2000).nullable(),
    /** Bytes that the holder has written. */
    bytes: count,
    /** Time for which the stage could not compute, in seconds: the rest of a lazy copy, or a whole synchronous save. */
    stalledSeconds: z.number().nonnegative(),
  }),
  z.strictObject({}),
)

export type SavedQuestion = z.infer<typeof saved.question>
