/** Which peers may connect, by the word of this peer's user. */
import { rmSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { systemClock } from '../../../protocols/clock.ts'
import { createLibp2pNetwork } from '../../../protocols/libp2p.ts'
import { PeerGate } from '../../../src/node/peer-gate.ts'
import { temporaryFolder } from '../../fixtures/folder.ts'

const ALICE = '12D3KooWK3FZM8v7eBFXNAFG1wCvdMAZzCSZqzNzGJAeXkLYJAnv'
const BOB = '12D3KooWGRUVh4Ttt7U6pBbHCFvhpUf3hJ1aCTRLGTnV9mcJ2GJx'

function allowing(text: string) {
  const file = join(temporaryFolder(), 'allow.txt')
  writeFileSync(file, text)
  return file
}

test('without a list every peer may connect that is not banned', () => {
  const gate = new PeerGate(undefined, [BOB])
  expect([ALICE, BOB].map((peer) => gate.admits(peer))).toEqual([true, false])
})

test('a list admits the peers that it names, and a ban is stronger', () => {
  const file = allowing(`# friends\n${ALICE} # Alice\n\n`)
  expect([ALICE, BOB].map((peer) => new PeerGate(file, []).admits(peer))).toEqual([true, false])
  expect(new PeerGate(file, [ALICE]).admits(ALICE)).toBe(false)
})

test('a changed list counts at once, and one that is gone or wrong changes nothing', () => {
  const file = allowing(`${ALICE}\n`)
  const gate = new PeerGate(file, [])
  const write = (text: string, second: number) => {
    writeFileSync(file, text)
    utimesSync(file, second, second)
  }
  write(`${BOB}\n`, 1)
  expect([ALICE, BOB].map((peer) => gate.admits(peer))).toEqual([false, true])
  write('half a li', 2)
  expect(gate.admits(BOB)).toBe(true)
  rmSync(file)
  expect(gate.admits(BOB)).toBe(true)
})

test.each([
  ['a list that is missing', () => new PeerGate('/nowhere/allow.txt', []), /--allow .*ENOENT/],
  ['a wrong line', () => new PeerGate(allowing(`${ALICE}\nbob\n`), []), /:2: bob is no peer id/],
  ['a wrong ban', () => new PeerGate(undefined, ['bob']), /--ban bob is no peer id/],
])('%s is refused with its place', (_, open, message) => {
  expect(open).toThrow(message)
})

const running: { stop(): Promise<void> }[] = []
afterEach(async () => {
  await Promise.all(running.splice(0).map((network) => network.stop()))
})

test('a peer that the gate does not admit gets no connection in either direction', async () => {
  const open = async (admits?: (peer: string) => boolean) => {
    const init = { listen: ['/ip4/127.0.0.1/tcp/0'], bootstrap: [], mdns: null, admits }
    const network = await createLibp2pNetwork(init, { clock: systemClock })
    running.push(network)
    return network
  }
  const stranger = await open()
  const friend = await open()
  const served: string[] = []
  const guarded = await open((peer) => peer === friend.self)
  const protocol = '/gensyn-node/test/1.0.0'
  for (const network of [guarded, stranger]) {
    network.handle(protocol, {
      handle: async (from) => {
        served.push(from)
        return { header: {} }
      },
    })
  }
  const call = (from: typeof stranger, to: typeof stranger) => {
    from.learn(to.self, to.addresses)
    return from.call(to.self, protocol, { header: {} }, { timeoutMs: 5_000 })
  }
  await call(friend, guarded)
  await expect(call(stranger, guarded)).rejects.toMatchObject({ name: 'ProtocolError' })
  await expect(call(guarded, stranger)).rejects.toMatchObject({ name: 'ProtocolError' })
  expect(served).toEqual([friend.self])
})
