/** Names of peers for people. */
import type { PeerId } from '../../protocols/network.ts'

/** The end of a long peer id, which is enough to tell peers apart. */
export function shortName(peer: PeerId): string {
  return peer.length > 8 ? `…${peer.slice(-6)}` : peer
}
