/**
 * The interface to other peers. `call` sends a message and returns its answer. A message has a small JSON header, which the
 * receiver checks against a schema, and optionally a body of raw little-endian bytes.
 *
 * Every implementation has these properties (checked by test/conformance/network.ts):
 * - An answer means that the handler ran exactly once. A call with a definite error never ran the handler. A call with
 *   TIMEOUT, PEER_LOST, CORRUPT or INTERNAL may have run the handler.
 * - Calls do not wait for each other. Two calls to one peer may arrive in any order. A call with a large body does not delay
 *   a call on another protocol.
 * - Every call ends: by its answer, its deadline, its signal, or the loss of the connection.
 * - A body that `accept` refuses takes no memory of the receiver.
 * - The body passed to `call` may be reused after the answer.
 */

/** A peer's identity as text (libp2p peer id, or a name in the simulated world). */
export type PeerId = string

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json | undefined }

export interface Message {
  readonly header: Json
  readonly body?: Uint8Array | undefined
}

/** A received message. Its header is not checked yet. */
export interface Received {
  readonly header: unknown
  readonly body?: Uint8Array | undefined
}

/** Returns memory for a body of `length` bytes, before its first byte is stored. @throws ProtocolError to refuse the body */
export type AcceptBody = (header: unknown, length: number) => Uint8Array

export interface Handler {
  /** Returns memory for the body. A protocol without `accept` takes no body. Must be fast, since it runs while bytes arrive. */
  accept?(from: PeerId, header: unknown, length: number): Uint8Array
  /** Called with a complete message whose checksums match. A ProtocolError thrown here reaches the caller with its code. */
  handle(from: PeerId, message: Received): Promise<Message>
}

export interface CallOptions {
  readonly timeoutMs: number
  readonly signal?: AbortSignal | undefined
  /** Returns memory for the body of the answer. Without it an answer with a body is refused. */
  readonly accept?: AcceptBody | undefined
}

export interface Network {
  readonly self: PeerId
  /** Addresses at which others can reach this peer now: ADDRESSES_MAX at most, each of ADDRESS_LENGTH at most. */
  readonly addresses: readonly string[]
  /**
   * The network that a connected peer dials from: the first 24 bits of an IPv4 address, or 48 of an IPv6 one. '' for a peer
   * on this machine. Null without a connection.
   */
  hostOf(peer: PeerId): string | null
  /** Serves a protocol until the returned function is called. A protocol has one handler. */
  handle(protocol: string, handler: Handler): () => void
  call(peer: PeerId, protocol: string, message: Message, options: CallOptions): Promise<Received>
  /** Connects to the peer at an address, and returns its id. @throws ProtocolError UNREACHABLE that names the address */
  connect(address: string, options: CallOptions): Promise<PeerId>
  /** Remembers these addresses of a peer, and no earlier ones, for later calls until `forget`. Takes ADDRESSES_MAX at most. */
  learn(peer: PeerId, addresses: readonly string[]): void
  /** Forgets the addresses of a peer as soon as no connection to that peer stands. */
  forget(peer: PeerId): void
  /**
   * Ends the connections to a peer, so that the next call dials anew. Calls over them fail with PEER_LOST. Of several
   * connections the newest stays: the peer has found the older ones dead, and has dialled.
   * @param stoodMs a connection that has stood for less than so many milliseconds stays. @default 0
   */
  disconnect(peer: PeerId, stoodMs?: number): void
  /** Ends all connections to a peer, and has none with it for so many milliseconds. Calls to it fail with UNREACHABLE. */
  shun(peer: PeerId, ms: number): void
  /** Sends an announcement of at most 16 KiB to all subscribers, without a guarantee. Does not wait. */
  publish(topic: string, header: Json): void
  subscribe(topic: string, listener: (from: PeerId, header: unknown) => void): () => void
  /** Calls `listener` when the last connection to a peer has ended. The peer may still be alive. */
  onLost(listener: (peer: PeerId) => void): () => void
  /** Calls `listener` for each peer found on the local network (mDNS). */
  onFound(listener: (peer: PeerId) => void): () => void
  stop(): Promise<void>
}

/** Addresses of one peer that are used. The limit exists because the addresses come from other peers. */
export const ADDRESSES_MAX = 8

/** Longest address, in characters of one byte. */
export const ADDRESS_LENGTH = 128

/**
 * A connection that has stood for so many milliseconds is dead if its peer dials again. A peer uses the connection that it has, so
 * that one which dials has lost it. Two connections of about the same time come from two peers that dialled each other.
 */
export const REDIAL_MS = 10_000

/** Limits of the wire, in bytes. */
export const LIMITS = {
  header: 64 * 1024,
  announcement: 16 * 1024,
  body: 256 * 1024 * 1024,
} as const
