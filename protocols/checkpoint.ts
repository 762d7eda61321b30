/** How holders tell the coordinator what has become of their part of a checkpoint. */
import { z } from 'zod'
import { procedure } from './procedure.ts'

const count = z.int().nonnegative()

/** To the coordinator: this holder's share of the step lies in the store, or will not. */
export const saved = procedure(
  '/gensyn-node/saved/1.0.0',
  z.strictObject({
    run: z.string().max(64),
    step: count,
    /** That committed the step: a step that was given up and made again is saved anew. */
    epoch: count,
    failure: z.string().max(2000).nullable(),
    /** That it has written. */
    bytes: count,
    /** For which its stage could not go on: what a lazy copy had to catch up, or the whole of a synchronous one. */
    stalledSeconds: z.number().nonnegative(),
  }),
  z.strictObject({}),
)

export type SavedQuestion = z.infer<typeof saved.question>
