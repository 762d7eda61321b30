/** A peer without the key of a run's network gets nothing from its peers: no connection, no answer, no announcement. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Libp2pNetwork } from '../../protocols/libp2p.ts'
import { CALL, echo, failsWith, PROTOCOL } from '../conformance/network-fixture.ts'
import { createPeer } from './libp2p-fixture.ts'

const KEY = new Uint8Array(32).fill(1)
const TOPIC = 'steps'

let inside: Libp2pNetwork
let heard: unknown[]
beforeAll(async () => {
  inside = await createPeer({ prologue: KEY })
  inside.handle(PROTOCOL, echo)
  heard = []
  inside.subscribe(TOPIC, (_, header) => heard.push(header))
})
afterAll(() => inside.stop())

const listenAddress = (address: string) => address.replace(/\/p2p\/.*/, '')

test.each([
  ['no key', undefined],
  ['another key', new Uint8Array(32).fill(2)],
  ['the beginning of the key', KEY.subarray(0, 31)],
])('a stranger with %s', async (_, prologue) => {
  const stranger = await createPeer({ prologue })
  try {
    for (const address of [inside.addresses[0]!, listenAddress(inside.addresses[0]!)]) {
      await expect(stranger.connect(address, CALL)).rejects.toMatchObject({
        code: 'WRONG_RUN',
        message: `The peer at ${address} has another run.json than this one, or another secret. Take the run.json of its run, and the secret if it has one.`,
      })
    }
    stranger.learn(inside.self, inside.addresses)
    await failsWith(stranger.call(inside.self, PROTOCOL, { header: {} }, CALL), 'UNREACHABLE')
    stranger.publish(TOPIC, { step: 1 })
    // A peer inside cannot be brought to talk to the stranger either.
    await failsWith(inside.connect(stranger.addresses[0]!, CALL), 'WRONG_RUN')
    expect(heard).toEqual([])
  } finally {
    await stranger.stop()
  }
})

test('a peer with the key is answered', async () => {
  const member = await createPeer({ prologue: KEY })
  try {
    const peer = await member.connect(inside.addresses[0]!, CALL)
    const { header } = await member.call(peer, PROTOCOL, { header: { a: 1 } }, CALL)
    expect(header).toMatchObject({ a: 1 })
  } finally {
    await member.stop()
  }
})
