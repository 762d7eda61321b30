/** Faults of a network. */
import type { PeerId } from '../../protocols/network.ts'

/** `handshake` is the dialler's half of a new connection, and `welcome` the other half. */
export type MessageKind = 'question' | 'answer' | 'handshake' | 'welcome' | 'announcement'

/**
 * What happens to one message. All fates keep the promises of a `Network`: an answer means that the handler ran once, and
 * a lost message ends its call with an indefinite error.
 */
export type Fate =
  /** The message takes longer. Later messages may overtake it. */
  | { readonly delayMs: number }
  /** TCP repeats the message until the disturbance ends, unless the connection breaks before. */
  | 'blocked'
  /** The message never arrives, and neither side is told: the call runs into its deadline. */
  | 'swallowed'
  /** The connection breaks. Both sides notice, and all else on its way there is lost, too. */
  | 'reset'
  /** The checksum does not match. The caller is told CORRUPT, whether or not the handler ran. */
  | 'corrupt'
  /** The question arrives twice, the second time after so many milliseconds. Its answers never arrive. */
  | { readonly againAfterMs: number }

/** Decides about each message when it is sent. Undefined: the message is undisturbed. */
export type Disturbance = (from: PeerId, to: PeerId, kind: MessageKind) => Fate | undefined
