/**
 * The seam to other peers. One verb carries everything: `call` sends a message and gets its answer. A message is a
 * small JSON header, checked against a schema by whoever receives it, and optionally a body of raw little-endian bytes.
 *
 * What an implementation promises (test/conformance/network.ts holds each to it):
 * - An answer means that the handler ran exactly once. A call that fails with a definite error never ran it;
 *   one that fails with TIMEOUT, PEER_LOST, CORRUPT or INTERNAL may have.
 * - Calls do not wait for each other: order between two calls to one peer is not promised, and a call with a large
 *   body does not hold up one on another protocol.
 * - Every call ends: by its answer, its deadline, its signal, or the loss of the peer.
 * - What is refused by `accept` costs the receiver no memory for the body.
 * - The body passed to `call` may be reused once the call has settled with an answer.
 */

/** A peer's identity as text (libp2p peer id, or a name in the simulated world). */
export type PeerId = string

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json | undefined }

export interface Message {
  readonly header: Json
  readonly body?: Uint8Array | undefined
}

/** A message as it arrives: nothing is known about the header yet. */
export interface Received {
  readonly header: unknown
  readonly body?: Uint8Array | undefined
}

/** Chooses where a body of `length` bytes goes, before any of it is stored; throws a ProtocolError to refuse it. */
export type AcceptBody = (header: unknown, length: number) => Uint8Array

export interface Handler {
  /** Without it a message with a body is refused. Must be synchronous and fast: it runs while bytes arrive. */
  accept?(from: PeerId, header: unknown, length: number): Uint8Array
  /** Header and body are whole, the checksum holds. A ProtocolError thrown here reaches the caller with its code. */
  handle(from: PeerId, message: Received): Promise<Message>
}

export interface CallOptions {
  readonly timeoutMs: number
  readonly signal?: AbortSignal | undefined
  /** Where the body of the answer goes; without it an answer with a body is refused. */
  readonly accept?: AcceptBody | undefined
}

export interface Network {
  readonly self: PeerId
  /** Addresses at which others can reach this peer. */
  readonly addresses: readonly string[]
  /** Serves a protocol until the returned function is called. One handler a protocol. */
  handle(protocol: string, handler: Handler): () => void
  call(peer: PeerId, protocol: string, message: Message, options: CallOptions): Promise<Received>
  /** Connects to whoever answers at an address. @throws ProtocolError UNREACHABLE that names the address */
  connect(address: string, options: CallOptions): Promise<PeerId>
  /** Remembers where a peer can be reached, for calls to it. */
  learn(peer: PeerId, addresses: readonly string[]): void
  /** Small announcements to everyone who listens, best effort, at most 16 KiB. Never waits. */
  publish(topic: string, header: Json): void
  subscribe(topic: string, listener: (from: PeerId, header: unknown) => void): () => void
  /** The last connection to a peer went away: it may be dead, or only the link. */
  onLost(listener: (peer: PeerId) => void): () => void
  /** A peer was seen on the local network (mDNS). */
  onFound(listener: (peer: PeerId) => void): () => void
  stop(): Promise<void>
}

/** Limits of the wire, in bytes. */
export const LIMITS = {
  header: 64 * 1024,
  announcement: 16 * 1024,
  body: 256 * 1024 * 1024,
} as const
