import { expect, test } from 'vitest'
import { PREFIX_BYTES } from '../../../protocols/frame.ts'
import type { Message, Network } from '../../../protocols/network.ts'
import { VirtualNetwork, type VirtualNetworkOptions } from '../../../sim/world/network.ts'
import { World } from '../../../sim/world/world.ts'

const PROTOCOL = '/test/1.0.0'
const CALL = { timeoutMs: 60_000 }
const LATENCY_MS = 20
const BYTES_PER_MS = 1000
/** Duration of a handshake: three round trips. */
const HANDSHAKE_MS = 6 * LATENCY_MS

/** A frame of 10,000 bytes, which takes 10 ms to send. Its header is `null`. */
const TEN_MS: Message = { header: null, body: new Uint8Array(10_000 - PREFIX_BYTES - 4) }
/** A frame of 1000 bytes without a body. The quotes belong to the header. */
const ONE_MS: Message = { header: 'x'.repeat(1000 - PREFIX_BYTES - 2) }
/** An answer of `serve`, a frame of 36 bytes. */
const ANSWER_MS = (PREFIX_BYTES + 4) / BYTES_PER_MS + LATENCY_MS

function setUp(options: Partial<VirtualNetworkOptions> = {}) {
  const world = new World({ seed: 1 })
  const links = () => ({ latencyMs: LATENCY_MS, bytesPerMs: BYTES_PER_MS })
  const network = new VirtualNetwork({ world, links, ...options })
  const journal: string[] = []
  const note = (what: string) => {
    journal.push(`${world.clock.now()} ${what}`)
  }
  const run = <T>(outcome: Promise<T>) => world.run(outcome, { waitingFor: 'the test to end' })
  return { world, network, journal, note, run }
}

/** Answers everything with null, after `work`. */
function serve(peer: Network, work: (header: unknown) => Promise<void> | void = () => {}): void {
  peer.handle(PROTOCOL, {
    accept: (_from, _header, length) => new Uint8Array(length),
    async handle(_from, { header }) {
      await work(header)
      return { header: null }
    },
  })
}

test('a call takes latency and bytes over bandwidth in both directions, and the first call a handshake', async () => {
  const { world, network, run } = setUp()
  const [a, b] = [network.join('a'), network.join('b')]
  serve(b)
  a.learn('b', b.addresses)
  await run(a.call('b', PROTOCOL, TEN_MS, CALL))
  const first = HANDSHAKE_MS + 10 + LATENCY_MS + ANSWER_MS
  expect(world.clock.now()).toBeCloseTo(first)
  await run(a.call('b', PROTOCOL, ONE_MS, CALL))
  expect(world.clock.now()).toBeCloseTo(first + 1 + LATENCY_MS + ANSWER_MS)
})

test('bodies are sent one after another on the uplink of their sender alone', async () => {
  const { world, network, run } = setUp()
  const peers = ['a', 'b', 'c'].map((name): Network => network.join(name))
  const [a, b, c] = peers as [Network, Network, Network]
  const arrivals: Record<string, number> = {}
  for (const peer of peers) {
    serve(peer)
    await run(
      Promise.all(
        peers
          .filter((other) => other !== peer)
          .map((other) => peer.connect(other.addresses[0]!, CALL)),
      ),
    )
  }
  const start = world.clock.now()
  const send = async (name: string, from: Network, to: Network, message: Message) => {
    await from.call(to.self, PROTOCOL, message, CALL)
    arrivals[name] = Math.round(world.clock.now() - start - LATENCY_MS - ANSWER_MS)
  }
  await run(
    Promise.all([
      send('first', a, b, TEN_MS),
      send('second', a, c, TEN_MS),
      send('third', a, b, TEN_MS),
      send('header alone', a, b, ONE_MS),
      send('from another', b, c, TEN_MS),
    ]),
  )
  expect(arrivals).toEqual({
    first: 10,
    second: 20,
    third: 30,
    'header alone': 1,
    'from another': 10,
  })
})

test('messages of a killed peer are lost, and its neighbours notice after a while', async () => {
  const { world, network, journal, note, run } = setUp({ detectionMs: 15 })
  const [a, b, c] = ['a', 'b', 'c'].map((name): Network => network.join(name)) as [
    Network,
    Network,
    Network,
  ]
  serve(a, () => note('a was asked'))
  serve(b, () => note('b was asked'))
  await run(Promise.all([a.connect('sim://b', CALL), c.connect('sim://a', CALL)]))
  for (const peer of [a, b, c]) peer.onLost((lost) => note(`${peer.self} lost ${lost}`))
  const start = world.clock.now()
  const fate = (from: Network, to: string) =>
    from
      .call(to, PROTOCOL, { header: null }, CALL)
      .catch((error) => note(`${from.self} ${error.code}`))
  const calls = Promise.all([fate(a, 'b'), fate(b, 'a')])
  world.schedule(5, 'kill', () => network.kill('b'))
  await run(calls)
  await run(world.clock.sleep(1000))
  expect(journal).toEqual([
    // The calls of the dead peer fail.
    `${start + 5} b PEER_LOST`,
    // A call made before the death does not arrive. Peer c was not connected to the dead peer.
    `${start + 20} a lost b`,
    `${start + 20} a PEER_LOST`,
  ])
  await expect(run(b.call('a', PROTOCOL, { header: null }, CALL))).rejects.toThrow(
    'this peer has ended',
  )
})

test('the answers of a handler on a killed peer are lost', async () => {
  const { world, network, run } = setUp()
  const [a, b] = [network.join('a'), network.join('b')]
  serve(b, () => network.kill('b'))
  await run(a.connect('sim://b', CALL))
  const call = a.call('b', PROTOCOL, { header: null }, CALL)
  await expect(run(call)).rejects.toMatchObject({ code: 'PEER_LOST' })
  expect(world.pending).toBe(0)
})

test('a name can be used again, and questions to its former peer are lost', async () => {
  const { network, journal, note, run } = setUp({ detectionMs: 5000 })
  const [a, old] = [network.join('a'), network.join('b')]
  serve(old, () => new Promise(() => {}))
  await run(a.connect('sim://b', CALL))
  a.onLost((lost) => note(`lost ${lost}`))
  const call = expect(a.call('b', PROTOCOL, { header: null }, CALL)).rejects.toMatchObject({
    code: 'PEER_LOST',
  })
  network.kill('b')
  const again = network.join('b')
  serve(again)
  await run(again.connect('sim://a', CALL))
  expect((await run(a.call('b', PROTOCOL, { header: null }, CALL))).header).toBe(null)
  await run(call)
  // The connection to the name b exists all the time, so no loss is told.
  expect(journal).toEqual([])
  expect(() => network.join('b')).toThrow('already')
})

test('announcements travel from listener to listener', async () => {
  const { world, network, journal, note, run } = setUp()
  const names = ['a', 'b', 'deaf', 'c', 'd']
  const peers = names.map((name): Network => network.join(name))
  // Peers a, b and c form a row. Peer d is connected only to a peer that does not listen.
  const connections = [
    ['a', 'b'],
    ['b', 'c'],
    ['a', 'deaf'],
    ['deaf', 'd'],
  ] as const
  for (const [from, to] of connections) {
    await run(peers[names.indexOf(from)]!.connect(`sim://${to}`, CALL))
  }
  for (const peer of peers) {
    if (peer.self !== 'deaf') peer.subscribe('news', (from) => note(`${peer.self} heard ${from}`))
  }
  const start = world.clock.now()
  peers[0]!.publish('news', null)
  await run(world.clock.sleep(1000))
  expect(journal).toEqual([
    `${start + LATENCY_MS} b heard a`,
    `${start + 2 * LATENCY_MS} c heard a`,
  ])
})

test('peers discover each other when they join, if discovery is on', async () => {
  const { world, network, journal, note, run } = setUp({ discovery: true })
  const join = (name: string) => {
    const peer = network.join(name)
    peer.onFound((found) => note(`${name} found ${found}`))
    return peer
  }
  const a = join('a')
  serve(join('b'))
  await run(world.clock.sleep(1000))
  expect(journal).toEqual([`${LATENCY_MS} b found a`, `${LATENCY_MS} a found b`])
  expect((await run(a.call('b', PROTOCOL, { header: null }, CALL))).header).toBe(null)
})

test('the same seed gives the same history while peers die and return', async () => {
  const histories = new Set<string>()
  for (let round = 0; round < 5; round++) histories.add(await churn('seed'))
  expect(histories.size).toBe(1)
  expect(histories).not.toContain(await churn('another seed'))
})

/** Ten peers ask each other for work that takes real time, while one after another dies and returns. */
async function churn(seed: string): Promise<string> {
  const world = new World({ seed })
  const history: string[] = []
  const note = (what: string) => history.push(`${world.clock.now()} ${what}`)
  const speeds = world.random.stream('links')
  const latency = Array.from({ length: 10 }, () => 1 + speeds.integer(5))
  const links = (from: string) => ({ latencyMs: latency[Number(from)]!, bytesPerMs: 100 })
  const network = new VirtualNetwork({ world, links })
  const names = latency.map((_, i) => String(i))
  const join = (name: string) => {
    const peer = network.join(name)
    for (const other of names) peer.learn(other, [`sim://${other}`])
    peer.onLost((lost) => note(`${name} lost ${lost}`))
    serve(peer, () =>
      world.compute(
        3,
        'work',
        () => new Promise((resolve) => setTimeout(resolve, Math.random() * 3)),
      ),
    )
    return peer
  }
  const ask = async (name: string) => {
    const random = world.random.stream(name)
    let peer = join(name)
    for (let i = 0; i < 10; i++) {
      const other = names[random.integer(names.length)]!
      const message = { header: null, body: new Uint8Array(random.integer(1000)) }
      await peer.call(other, PROTOCOL, message, { timeoutMs: 40 }).then(
        () => note(`${name} had an answer of ${other}`),
        (error) => note(`${name} failed with ${error.code}`),
      )
      if (random.integer(5) > 0) continue
      network.kill(name)
      await world.clock.sleep(random.integer(20))
      peer = join(name)
    }
  }
  await world.run(Promise.all(names.map(ask)), { waitingFor: 'all to have asked' })
  return history.join('\n')
}

test('a header arrives as a copy, or as the same object if headers are shared', async () => {
  const header = { list: [1, 2] }
  for (const shareHeaders of [false, true]) {
    const { network, run } = setUp({ shareHeaders })
    const [a, b] = [network.join('a'), network.join('b')]
    let arrived: unknown
    serve(b, (received) => {
      arrived = received
    })
    await run(a.connect('sim://b', CALL))
    await run(a.call('b', PROTOCOL, { header }, CALL))
    expect(arrived).toEqual(header)
    expect(arrived === header).toBe(shareHeaders)
  }
})

test('without gossip no announcement arrives', async () => {
  const { world, network, journal, note, run } = setUp({ gossip: false })
  const [a, b] = [network.join('a'), network.join('b')]
  await run(a.connect('sim://b', CALL))
  b.subscribe('news', () => note('b heard'))
  a.publish('news', null)
  await run(world.clock.sleep(1000))
  expect(journal).toEqual([])
})
