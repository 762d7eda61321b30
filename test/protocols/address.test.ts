/** The network of an address. */
import { expect, test } from 'vitest'
import { hostOf } from '../../protocols/address.ts'

test.each([
  ['/ip4/203.0.113.7/tcp/4001', '203.0.113.0/24'],
  ['/ip4/203.0.113.200/tcp/1/p2p/12D3', '203.0.113.0/24'],
  ['/ip4/10.1.2.3/tcp/4001', '10.1.2.0/24'],
  ['/ip4/127.0.0.1/tcp/4001', ''],
  ['/ip6/::1/tcp/4001', ''],
  ['/ip6/2001:db8:1:2::7/tcp/4001', '2001:db8:1::/48'],
  ['/ip6/2001:db8::7/tcp/4001', '2001:db8:0::/48'],
  ['/ip6/2001:db8:1:2:3:4:5:6/tcp/4001', '2001:db8:1::/48'],
  ['/dns4/example.org/tcp/4001', ''],
])('%s is in %s', (address, host) => {
  expect(hostOf(address)).toBe(host)
})
