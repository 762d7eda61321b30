/** Which addresses of a node lead to it. */
import { networkInterfaces } from 'node:os'
import { expect, test } from 'vitest'
import { reachable } from '../../protocols/libp2p-listening.ts'
import { ADDRESSES_MAX } from '../../protocols/network.ts'

const MACHINE = ['127.0.0.1', '10.0.0.7']

const at = (host: string) => `/ip4/${host}/tcp/4001/p2p/peer`

test('an address that the user chose is left out while the machine does not have it', () => {
  const chosen = ['/ip4/10.0.0.7/tcp/4001']
  expect(reachable([at('10.0.0.7')], chosen, MACHINE)).toEqual([at('10.0.0.7')])
  expect(reachable([at('10.0.0.7')], chosen, ['127.0.0.1', '10.0.0.8'])).toEqual([])
})

test('the addresses that count are those of this machine', () => {
  const all = Object.values(networkInterfaces()).flatMap((each) => each ?? [])
  const own = all.filter(({ family }) => family === 'IPv4').map(({ address }) => at(address))
  expect(own).not.toEqual([])
  // No machine has the last one, an address for examples.
  expect(reachable([...own, at('192.0.2.1')], [...own, at('192.0.2.1')])).toEqual(own)
})

test('a node that listens on all addresses keeps what libp2p finds', () => {
  for (const listen of [['/ip4/0.0.0.0/tcp/4001'], ['/ip4/127.0.0.1/tcp/0'], ['/ip6/::/tcp/1']]) {
    expect(reachable([at('10.0.0.9'), at('127.0.0.1')], listen, MACHINE)).toHaveLength(2)
  }
})

test('too many addresses are cut, and those of the loopback go first', () => {
  const hosts = Array.from({ length: 12 }, (_, i) => at(`172.17.0.${i}`))
  const some = reachable([at('127.0.0.1'), ...hosts], [], MACHINE)
  expect(some).toEqual(hosts.slice(0, ADDRESSES_MAX))
  expect(reachable([at('127.0.0.1'), ...hosts.slice(0, 7)], [], MACHINE)).toHaveLength(8)
})

test('an address that is too long is left out', () => {
  const tooLong = `/dns4/${'x'.repeat(128)}/tcp/1`
  expect(reachable([tooLong, at('10.0.0.7')], [], MACHINE)).toEqual([at('10.0.0.7')])
})
