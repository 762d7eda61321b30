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

/**
 * The network of an address: the first 24 bits of an IPv4 address, or 48 of an IPv6 one. '' for this machine, and for an
 * address of another kind.
 */
export function hostOf(address: string): string {
  const ipv4 = /^\/ip4\/(\d+)\.(\d+)\.(\d+)\.\d+\//.exec(address)
  if (ipv4 !== null) return ipv4[1] === '127' ? '' : `${ipv4.slice(1).join('.')}.0/24`
  const ipv6 = /^\/ip6\/([0-9a-f:]+)\//.exec(address)?.[1]
  if (ipv6 === undefined || ipv6 === '::1') return ''
  const [before = '', after = ''] = ipv6.split('::')
  const left = before === '' ? [] : before.split(':')
  const right = after === '' ? [] : after.split(':')
  const zeros = ipv6.includes('::') ? Array(8 - left.length - right.length).fill('0') : []
  return `${[...left, ...zeros, ...right].slice(0, 3).join(':')}::/48`
}
