/** What may become of messages on a network that is not sound. */
import type { PeerId } from '../../protocols/network.ts'

export type MessageKind = 'question' | 'answer' | 'handshake' | 'announcement'

/**
 * All fates keep the promises of a `Network`: an answer means that the handler ran once, and whatever is lost ends its
 * call with an indefinite error.
 */
export type Fate =
  /** It takes longer; later messages may overtake it. */
  | { readonly delayMs: number }
  /** TCP sends it again and again until the disturbance ends, unless the connection breaks before. */
  | 'blocked'
  /** It never comes, and nobody is told: the call runs into its deadline. */
  | 'swallowed'
  /** The connection breaks under it: both sides notice, whatever else was under way on it is lost too. */
  | 'reset'
  /** Its checksum does not match: the caller is told CORRUPT, after the handler ran or instead. */
  | 'corrupt'
  /** A question that comes twice, the second time after so long, and whose answers never come. */
  | { readonly againAfterMs: number }

/** Asked about each message as it is sent; undefined leaves it alone. */
export type Disturbance = (from: PeerId, to: PeerId, kind: MessageKind) => Fate | undefined
