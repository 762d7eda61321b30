/** Behaviour of a real network: ports in use, discovery of peers, and traffic on loopback alone. */
import { readFile } from 'node:fs/promises'
import { peerIdFromString } from '@libp2p/peer-id'
import { describe, expect, test, vi } from 'vitest'
import type { Libp2pNetwork } from '../../protocols/libp2p.ts'
import { ListenError } from '../../protocols/listen-error.ts'
import { CALL, echo, failsWith, PROTOCOL } from '../conformance/network-fixture.ts'
import { createPeer, STRANGER } from './libp2p-fixture.ts'

/** 224.0.0.251 in the notation of /proc. */
const MDNS_GROUP = 'FB0000E0'

/** Address without the peer id. */
const listenAddress = (address: string) => address.replace(/\/p2p\/.*/, '')

describe('listening', () => {
  test('on a port in use fails, names the address and says what to do', async () => {
    const peer = await createPeer()
    const address = listenAddress(peer.addresses[0]!)
    const error = await createPeer({ listen: [address] }).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(ListenError)
    expect((error as ListenError).address).toBe(address)
    expect((error as ListenError).message).toBe(
      `cannot listen on ${address}: another process listens there: ` +
        'choose another --listen or stop the other process',
    )
    await peer.stop()
  })

  test.each([
    ['/ip4/198.51.100.1/tcp/0', 'this machine has no such address: choose another --listen'],
    ['/ip4/127.0.0.1/udp/4001', 'only TCP is listened on, as in /ip4/127.0.0.1/tcp/4001'],
    ['/ip4/127.0.0.1/tcp/65536', 'it is no address; one looks like /ip4/127.0.0.1/tcp/4001'],
    ['localhost:4001', 'it is no address; one looks like /ip4/127.0.0.1/tcp/4001'],
  ])('on %s fails likewise', async (address, why) => {
    const error = await createPeer({ listen: [address] }).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(ListenError)
    expect(error).toMatchObject({ message: `cannot listen on ${address}: ${why}` })
  })
})

describe('connecting', () => {
  test('to an invalid address is UNREACHABLE', async () => {
    const peer = await createPeer()
    for (const address of ['nonsense', '', '/ip4/127.0.0.1', '/dns4/localhost/udp/1']) {
      await failsWith(peer.connect(address, CALL), 'UNREACHABLE')
    }
    await peer.stop()
  })

  test('to an address with another peer is UNREACHABLE', async () => {
    const [peer, other] = await Promise.all([createPeer(), createPeer()])
    const address = `${listenAddress(other.addresses[0]!)}/p2p/${STRANGER}`
    await expect(peer.connect(address, CALL)).rejects.toMatchObject({
      code: 'UNREACHABLE',
      message: `cannot reach ${address}: another peer answers there`,
    })
    await Promise.all([peer.stop(), other.stop()])
  })

  test('to an address where nobody listens says so', async () => {
    const peer = await createPeer()
    await expect(peer.connect('/ip4/127.0.0.1/tcp/1', CALL)).rejects.toMatchObject({
      message: 'cannot reach /ip4/127.0.0.1/tcp/1: no process listens at 127.0.0.1:1',
    })
    await peer.stop()
  })

  test('ends when its signal aborts', async () => {
    const [peer, other] = await Promise.all([createPeer(), createPeer()])
    const signal = AbortSignal.abort(new Error('leaving'))
    await expect(peer.connect(other.addresses[0]!, { ...CALL, signal })).rejects.toThrow('leaving')
    await Promise.all([peer.stop(), other.stop()])
  })

  test('happens at the start to the bootstrap peers', async () => {
    const first = await createPeer()
    first.handle(PROTOCOL, echo)
    const second = await createPeer({ bootstrap: first.addresses })
    await vi.waitFor(async () => {
      const answer = await second.call(first.self, PROTOCOL, { header: 'hello' }, CALL)
      expect(answer.header).toBe('hello')
    }, 20_000)
    await Promise.all([first.stop(), second.stop()])
  })

  test.each(['nonsense', '/ip4/127.0.0.1/tcp/1', '/ip4/127.0.0.1/tcp/1/p2p/nobody'])(
    'cannot begin at %s, which names no peer',
    async (address) => {
      const error = await failsWith(createPeer({ bootstrap: [address] }), 'UNREACHABLE')
      expect(error.message).toContain(address)
    },
  )

  test('ignores invalid names and addresses', async () => {
    const [peer, other] = await Promise.all([createPeer(), createPeer()])
    other.handle(PROTOCOL, echo)
    peer.learn('nobody', other.addresses)
    peer.learn(other.self, ['nonsense', ...other.addresses])
    await failsWith(peer.call('nobody', PROTOCOL, { header: 0 }, CALL), 'UNREACHABLE')
    expect((await peer.call(other.self, PROTOCOL, { header: 1 }, CALL)).header).toBe(1)
    await Promise.all([peer.stop(), other.stop()])
  })
})

describe('mDNS', () => {
  const found = (by: Libp2pNetwork, peer: string) =>
    new Promise<void>((resolve) => by.onFound((seen) => seen === peer && resolve()))

  test('finds both of two peers, which can then call each other', async () => {
    const [one, two] = await Promise.all([
      createPeer({ mdns: 'test' }),
      createPeer({ mdns: 'test' }),
    ])
    two.handle(PROTOCOL, echo)
    await Promise.all([found(one, two.self), found(two, one.self)])
    const answer = await one.call(two.self, PROTOCOL, { header: 'found' }, CALL)
    expect(answer.header).toBe('found')
    await Promise.all([one.stop(), two.stop()])
  })

  test('reports a peer that has connected already, since each listener must find the other', async () => {
    const [one, two] = await Promise.all([createPeer(), createPeer()])
    await one.connect(two.addresses[0]!, CALL)
    two.found({ id: peerIdFromString(one.self), multiaddrs: [] })
    await found(two, one.self)
    await Promise.all([one.stop(), two.stop()])
  })

  test.runIf(process.platform === 'linux')(
    'of a peer that listens on loopback stays on loopback',
    async () => {
      const [peer, other] = await Promise.all([
        createPeer({ mdns: 'test' }),
        createPeer({ mdns: 'test' }),
      ])
      await found(peer, other.self)
      expect(await interfacesInGroup(MDNS_GROUP)).toEqual(['lo'])
      await Promise.all([peer.stop(), other.stop()])
    },
  )
})

/** Interfaces that have joined a multicast group, from /proc. */
async function interfacesInGroup(group: string): Promise<string[]> {
  const interfaces: string[] = []
  let current = ''
  for (const line of (await readFile('/proc/net/igmp', 'utf8')).split('\n')) {
    const device = /^\d+\s+(\S+)/.exec(line)?.[1]
    if (device !== undefined) current = device
    else if (line.trim().startsWith(group)) interfaces.push(current)
  }
  return interfaces
}
