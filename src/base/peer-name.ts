/** Names of peers for people. */
import type { PeerId } from '../../protocols/network.ts'

/** The end of a long peer id, which is enough to tell peers apart. */
export function shortName(peer: PeerId): string {
  return peer.length > 8 ? `…${peer.slice(-6)}` : peer
}

/** A peer id of libp2p with an Ed25519 key. People copy a peer id at the end of an address, so that it stays whole. */
const PEER_ID = /(?<!\/p2p\/)12D3KooW[1-9A-HJ-NP-Za-km-z]{44}/g

/** A text for people in which each peer has its short name. */
export function withShortNames(text: string): string {
  return text.replaceAll(PEER_ID, shortName)
}
