/** What every holder tells whoever listens, now and then: small, signed by the network, never waited for. */
import { z } from 'zod'
import type { Network, PeerId } from './network.ts'

const count = z.int().nonnegative()

const announcementSchema = z.strictObject({
  stage: count,
  /** The step that it has just applied. */
  step: count,
  epoch: count,
  members: count,
  /** Training loss of that step, nats a token. */
  loss: z.number(),
  /** Seconds of that step that the stage spent computing. */
  busySeconds: z.number().nonnegative(),
})
export type Announcement = z.infer<typeof announcementSchema>

function topicOf(run: string): string {
  return `/gensyn-node/announcement/1.0.0/${run}`
}

export function announce(network: Network, run: string, announcement: Announcement): void {
  network.publish(topicOf(run), announcement)
}

/** Hears the holders of a run, itself a member or not. What is no announcement is passed over. */
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
