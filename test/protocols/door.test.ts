/** A peer without the key of a run's network gets nothing from its peers: no connection, no answer, no announcement. */
import { connect } from 'node:net'
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

test('a stranger whose first bytes are no knock gets not a byte, and learns no public key', async () => {
  const [, host, port] = /ip4\/(.*?)\/tcp\/(\d+)/.exec(inside.addresses[0]!)!
  const closed = await new Promise<number>((resolve, reject) => {
    const socket = connect(Number(port), host, () => socket.write(Buffer.alloc(4096, 1)))
    socket.on('error', reject)
    socket.on('close', () => resolve(socket.bytesRead))
    socket.resume()
  })
  expect(closed).toBe(0)
})

test('a peer without a key is not answered', async () => {
  const stranger = await createPeer({})
  try {
    const dialling = stranger.connect(inside.addresses[0]!, { timeoutMs: 500 })
    await failsWith(dialling, 'UNREACHABLE')
    stranger.learn(inside.self, inside.addresses)
    const calling = stranger.call(inside.self, PROTOCOL, { header: {} }, { timeoutMs: 500 })
    await expect(calling).rejects.toMatchObject({ name: 'ProtocolError' })
    stranger.publish(TOPIC, { step: 1 })
    // A peer inside cannot be brought to talk to the stranger either.
    const inviting = inside.connect(stranger.addresses[0]!, CALL)
    await expect(inviting).rejects.toMatchObject({ name: 'ProtocolError' })
    expect(heard).toEqual([])
  } finally {
    await stranger.stop()
  }
})

test.each([
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
