/** Progress that holders of stages publish from time to time. An announcement is small, signed, and may be lost. */
import { z } from 'zod'
import type { Network, PeerId } from './network.ts'
import { count } from './schemas.ts'

const announcementSchema = z.strictObject({
  stage: count,
  /** Last step that the holder has applied. */
  step: count,
  epoch: count,
  members: count,
  /** Training loss of that step, in nats a token. */
  loss: z.number(),
  /** Time that the stage spent computing in that step, in seconds. */
  busySeconds: z.number().nonnegative(),
})
export type Announcement = z.infer<typeof announcementSchema>

function topicOf(run: string): string {
  return `/gensyn-node/announcement/1.0.0/${run}`
}

export function announce(network: Network, run: string, announcement: Announcement): void {
  network.publish(topicOf(run), announcement)
}

/**
 * Calls `listener` for each announcement of a run. Members and others can listen. Invalid announcements are ignored.
 * @returns ends the subscription
 */
export function listen(
  network: Network,
  run: string,
  listener: (from: PeerId, announcement: Announcement) => void,
): () => void {
  return network.subscribe(topicOf(run), (from, header) => {
    const { success, data } = announcementSchema.safeParse(header)
    if (success) listener(from, data)
  })
}
