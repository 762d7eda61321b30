/** Announcements over gossipsub: small, signed by their author, delivered to all subscribers, without a guarantee. */
import { type GossipSub, type Message, TopicValidatorResult } from '@chainsafe/libp2p-gossipsub'
import { fromString } from 'uint8arrays'
import { ProtocolError } from './errors.ts'
import { type Json, LIMITS, type PeerId } from './network.ts'

type Listener = (from: PeerId, header: unknown) => void

/** Refuses bytes that are not UTF-8; the decoder of uint8arrays replaces them. */
const decoder = new TextDecoder('utf-8', { fatal: true })

export class Gossip {
  readonly #pubsub: GossipSub
  readonly #listeners = new Map<string, Set<Listener>>()
  readonly #failed: (why: unknown) => void
  #stopped = false

  /** @param failed called for each announcement that could not be sent, because `publish` does not wait */
  constructor(pubsub: GossipSub, failed: (why: unknown) => void) {
    this.#pubsub = pubsub
    this.#failed = failed
    pubsub.addEventListener('message', ({ detail }) => this.#deliver(detail))
  }

  publish(topic: string, header: Json): void {
    const bytes = fromString(JSON.stringify(header))
    // Gossipsub drops a message that is too long without an error.
    if (bytes.length > LIMITS.announcement) {
      throw new ProtocolError(
        'TOO_LARGE',
        `an announcement of ${bytes.length} bytes is over the limit of ${LIMITS.announcement} bytes`,
      )
    }
    this.#pubsub.publish(topic, bytes).catch(this.#failed)
  }

  /** Must be called before gossipsub stops. */
  stop(): void {
    this.#stopped = true
  }

  subscribe(topic: string, listener: Listener): () => void {
    const listeners = this.#listeners.get(topic) ?? new Set()
    if (listeners.size === 0) {
      this.#listeners.set(topic, listeners)
      this.#pubsub.topicValidators.set(topic, (_, message) => validate(message))
      this.#pubsub.subscribe(topic)
    }
    // A function of its own, so that the same listener can be added twice.
    const own: Listener = (from, header) => listener(from, header)
    listeners.add(own)
    return () => {
      if (!listeners.delete(own) || listeners.size > 0) return
      this.#listeners.delete(topic)
      // Gossipsub throws if a topic is left after the stop.
      if (!this.#stopped) this.#pubsub.unsubscribe(topic)
      this.#pubsub.topicValidators.delete(topic)
    }
  }

  #deliver(message: Message): void {
    if (message.type !== 'signed') return
    const header: unknown = JSON.parse(decoder.decode(message.data))
    for (const listener of this.#listeners.get(message.topic) ?? []) {
      listener(message.from.toString(), header)
    }
  }
}

/** Gossipsub does not forward a message that is rejected here. */
function validate({ data }: Message): TopicValidatorResult {
  if (data.length > LIMITS.announcement) return TopicValidatorResult.Reject
  try {
    JSON.parse(decoder.decode(data))
    return TopicValidatorResult.Accept
  } catch {
    return TopicValidatorResult.Reject
  }
}
