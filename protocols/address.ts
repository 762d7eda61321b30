/** Checks addresses that a user wrote. */
import { peerIdFromString } from '@libp2p/peer-id'
import { multiaddr } from '@multiformats/multiaddr'

/** True for a libp2p peer id such as 12D3KooW.... */
export function isPeerId(text: string): boolean {
  return isReadBy(peerIdFromString, text)
}

/** True for a multiaddr such as /ip4/127.0.0.1/tcp/4001. */
export function isAddress(text: string): boolean {
  return isReadBy(multiaddr, text)
}

function isReadBy(read: (text: string) => unknown, text: string): boolean {
  try {
    read(text)
    return true
  } catch {
    return false
  }
}
