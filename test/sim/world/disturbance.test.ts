/** Faults of single messages, connections and processes of a virtual network. */
import { expect, test } from 'vitest'
import type { Network } from '../../../protocols/network.ts'
import type { Fate, MessageKind } from '../../../sim/world/disturbance.ts'
import { VirtualNetwork } from '../../../sim/world/network.ts'
import { World } from '../../../sim/world/world.ts'

const PROTOCOL = '/test/1.0.0'
const LATENCY_MS = 10
const TIMEOUT_MS = 1_000
const CALL = { timeoutMs: TIMEOUT_MS }

/** Peers a and b, connected. Peer b counts its questions. */
async function setUp() {
  const world = new World({ seed: 1 })
  const links = () => ({ latencyMs: LATENCY_MS, bytesPerMs: Infinity })
  const network = new VirtualNetwork({ world, links })
  const [a, b] = [network.join('a'), network.join('b')]
  const journal: string[] = []
  const note = (what: string) => journal.push(`${world.clock.now() - start} ${what}`)
  for (const peer of [a, b]) {
    peer.onLost((lost) => note(`${peer.self} lost ${lost}`))
    peer.handle(PROTOCOL, {
      handle: async () => {
        note(`${peer.self} was asked`)
        return { header: null }
      },
    })
  }
  const run = <T>(outcome: Promise<T>) => world.run(outcome, { waitingFor: 'the test to end' })
  await run(a.connect('sim://b', CALL))
  const start = world.clock.now()
  const ask = (from: Network, to: string) =>
    from.call(to, PROTOCOL, { header: null }, CALL).then(
      () => note(`${from.self} had its answer`),
      (error) => note(`${from.self} ${error.code}`),
    )
  const disturb = (fate: Fate, wanted: MessageKind) =>
    network.disturb((_from, _to, kind) => (kind === wanted ? fate : undefined))
  const after = (ms: number) => run(world.clock.sleep(ms))
  return { world, network, a, b, journal, ask, run, disturb, after }
}

const UNDISTURBED = ['10 b was asked', '20 a had its answer']

test.each([
  ['question', 'swallowed', ['1000 a TIMEOUT']],
  ['answer', 'swallowed', ['10 b was asked', '1000 a TIMEOUT']],
  ['question', 'corrupt', ['10 a CORRUPT']],
  ['answer', 'corrupt', ['10 b was asked', '20 a CORRUPT']],
  ['question', 'reset', ['10 a PEER_LOST', '10 a lost b', '10 b lost a']],
  ['answer', 'reset', ['10 b was asked', '20 b lost a', '20 a PEER_LOST', '20 a lost b']],
  ['question', { delayMs: 50 }, ['60 b was asked', '70 a had its answer']],
  ['answer', { delayMs: 50 }, ['10 b was asked', '70 a had its answer']],
  ['question', { againAfterMs: 50 }, ['10 b was asked', '60 b was asked', '1000 a TIMEOUT']],
] as const)('a %s that is %j', async (kind, fate, history) => {
  const { a, journal, ask, run, disturb, after } = await setUp()
  const end = disturb(fate, kind)
  await run(ask(a, 'b'))
  // The call fails first, then the loss of its connection is told.
  await after(1)
  expect([...journal].sort()).toEqual([...history].sort())
  end()
  journal.length = 0
  await run(ask(a, 'b'))
  expect(journal.at(-1)).toMatch('a had its answer')
})

test('blocked messages arrive when the disturbance ends, unless their connection is gone', async () => {
  const { network, a, journal, ask, run, disturb, after } = await setUp()
  const end = disturb('blocked', 'question')
  const first = ask(a, 'b')
  await after(100)
  expect(journal).toEqual([])
  end()
  await run(first)
  expect(journal).toEqual(['110 b was asked', '120 a had its answer'])

  const again = disturb('blocked', 'question')
  const second = ask(a, 'b')
  await after(100)
  network.sever('a', 'b')
  await run(second)
  again()
  await after(100)
  expect(journal.slice(2)).toEqual(['220 a lost b', '220 a PEER_LOST'])
})

test('a disturbance of one direction leaves the other open', async () => {
  const { network, a, b, journal, ask, run } = await setUp()
  network.disturb((from) => (from === 'a' ? 'blocked' : undefined))
  await run(Promise.all([ask(a, 'b'), ask(b, 'a')]))
  // Peer b asks and peer a answers, but the answer does not arrive.
  expect(journal).toEqual(['10 a was asked', '1000 a TIMEOUT', '1000 b TIMEOUT'])
})

test('a connection that one side has dropped is lost to the other side when that side uses it', async () => {
  const { network, b, journal, ask, run, after } = await setUp()
  b.learn('a', ['sim://a'])
  network.sever('a', 'b')
  await after(100)
  expect(journal).toEqual(['0 a lost b'])
  await run(ask(b, 'a'))
  await after(1)
  expect(journal.slice(1)).toEqual(['120 b lost a', '120 b PEER_LOST'])
  await run(ask(b, 'a'))
  expect(journal.at(-1)).toMatch('b had its answer')
})

test('a frozen peer stays connected and silent, then answers all questions', async () => {
  const { network, a, b, journal, ask, run, after } = await setUp()
  const machine = network.machineOf('b')
  machine.freeze()
  await run(ask(a, 'b'))
  expect(journal).toEqual(['1000 a TIMEOUT'])
  const second = ask(a, 'b')
  await after(100)
  machine.thaw()
  await run(second)
  expect(journal.slice(1)).toEqual([
    '1100 b was asked',
    '1100 b was asked',
    '1110 a had its answer',
  ])
  // A new handshake needs the code of the frozen peer.
  machine.freeze()
  const c = network.join('c')
  await expect(run(c.connect('sim://b', CALL))).rejects.toMatchObject({ code: 'UNREACHABLE' })
  expect(b.isConnectedTo(c)).toBe(false)
})

test('a peer that cannot be dialled for ten seconds is unreachable', async () => {
  const { world, network, run, disturb } = await setUp()
  disturb('blocked', 'handshake')
  const c = network.join('c')
  c.learn('a', ['sim://a'])
  const before = world.clock.now()
  const call = c.call('a', PROTOCOL, { header: null }, { timeoutMs: 60_000 })
  await expect(run(call)).rejects.toMatchObject({ code: 'UNREACHABLE' })
  expect(world.clock.now() - before).toBe(10_000)
})

test('the code of a crashed peer runs no more, and the calls of a killed peer fail', async () => {
  const { network, a, journal, ask, run, after } = await setUp()
  const b = network.machineOf('b')
  void b.clock.sleep(50).then(() => journal.push('b goes on'))
  network.crash('b')
  await run(ask(a, 'b'))
  await after(100)
  expect(journal).toEqual(['10 a lost b', '10 a PEER_LOST'])
  const machine = network.machineOf('a')
  void machine.clock.sleep(50).then(() => journal.push('a goes on'))
  network.kill('a')
  await after(100)
  expect(journal.at(-1)).toBe('a goes on')
})

test('a slow peer sends slowly', async () => {
  const { network, a, journal, ask, run } = await setUp()
  network.machineOf('b').slowness = 5
  await run(ask(a, 'b'))
  expect(journal).toEqual(['10 b was asked', '60 a had its answer'])
})

test('a body counts as many times its bytes as bodyScale says', async () => {
  const world = new World({ seed: 1 })
  const arrivals = []
  for (const bodyScale of [1, 1000]) {
    const links = () => ({ latencyMs: 0, bytesPerMs: 1 })
    const network = new VirtualNetwork({ world, links, bodyScale })
    const [a, b] = [network.join('a'), network.join('b')]
    b.handle(PROTOCOL, {
      accept: (_from, _header, length) => new Uint8Array(length),
      handle: async () => ({ header: null }),
    })
    await world.run(a.connect('sim://b', CALL), { waitingFor: 'a connection' })
    const before = world.clock.now()
    const message = { header: null, body: new Uint8Array(8) }
    await world.run(a.call('b', PROTOCOL, message, { timeoutMs: 60_000 }), { waitingFor: 'it' })
    arrivals.push(world.clock.now() - before)
  }
  expect(arrivals[1]! - arrivals[0]!).toBe(8 * 999)
})

test('without a disturbance messages arrive as usual', async () => {
  const { a, journal, ask, run } = await setUp()
  await run(ask(a, 'b'))
  expect(journal).toEqual(UNDISTURBED)
})
