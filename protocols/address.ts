/** Checks addresses that a user wrote. */
import { multiaddr } from '@multiformats/multiaddr'

/** True for a multiaddr such as /ip4/127.0.0.1/tcp/4001. */
export function isAddress(text: string): boolean {
  try {
    multiaddr(text)
    return true
  } catch {
    return false
  }
}
