/** Tests of finding peers and of announcements. */
import { expect, vi } from 'vitest'
import { LIMITS, type Network } from '../../protocols/network.ts'
import {
  CALL,
  type DeclareTest,
  echo,
  failsWith,
  forever,
  OTHER_PROTOCOL,
  PROTOCOL,
  pair,
  TOPIC,
} from './network-fixture.ts'

/** Long enough for both sides to notice, in milliseconds. */
const SHUN_MS = 1_000

export function findingPeers(property: DeclareTest): void {
  property('connects to an address and returns the id of the peer', async ({ peers }) => {
    const [asker, answerer] = peers as [Network, Network]
    expect(await asker.connect(answerer.addresses[0]!, CALL)).toBe(answerer.self)
  })

  property(
    'fails to connect to an address without a listener, and names the address',
    async (swarm) => {
      const error = await failsWith(swarm.peers[0]!.connect(swarm.nowhere, CALL), 'UNREACHABLE')
      expect(error.message).toContain(swarm.nowhere)
    },
  )

  property('calls in both directions over one connection', async (swarm) => {
    const [asker, answerer] = await pair(swarm)
    asker.handle(PROTOCOL, echo)
    answerer.handle(PROTOCOL, echo)
    const there = await asker.call(answerer.self, PROTOCOL, { header: 'there' }, CALL)
    const back = await answerer.call(asker.self, PROTOCOL, { header: 'back' }, CALL)
    expect([there.header, back.header]).toEqual(['there', 'back'])
  })

  property('calls a peer whose address it has learned', async ({ peers }) => {
    const [asker, answerer] = peers as [Network, Network]
    answerer.handle(PROTOCOL, echo)
    asker.learn(answerer.self, answerer.addresses)
    const answer = await asker.call(answerer.self, PROTOCOL, { header: 1 }, CALL)
    expect(answer.header).toBe(1)
  })

  property('cannot call a peer that it has forgotten', async ({ peers }) => {
    const [asker, answerer] = peers as [Network, Network]
    answerer.handle(PROTOCOL, echo)
    asker.learn(answerer.self, answerer.addresses)
    asker.forget(answerer.self)
    const call = () => asker.call(answerer.self, PROTOCOL, { header: 1 }, CALL)
    await failsWith(call(), 'UNREACHABLE')
    asker.learn(answerer.self, answerer.addresses)
    expect((await call()).header).toBe(1)
    asker.forget(answerer.self)
    // The connection stands.
    expect((await call()).header).toBe(1)
  })

  property('calls a peer at the addresses that it has learned last', async (swarm) => {
    const [asker, answerer] = swarm.peers as [Network, Network]
    answerer.handle(PROTOCOL, echo)
    asker.learn(answerer.self, [swarm.nowhere])
    await failsWith(asker.call(answerer.self, PROTOCOL, { header: 1 }, CALL), 'UNREACHABLE')
    asker.learn(answerer.self, answerer.addresses)
    expect((await asker.call(answerer.self, PROTOCOL, { header: 1 }, CALL)).header).toBe(1)
  })

  property('dials anew after it has ended a connection, which ends open calls', async (swarm) => {
    const [asker, answerer] = swarm.peers as [Network, Network]
    asker.learn(answerer.self, answerer.addresses)
    answerer.handle(PROTOCOL, echo)
    const asked = Promise.withResolvers<void>()
    const handle = () => {
      asked.resolve()
      return forever
    }
    answerer.handle(OTHER_PROTOCOL, { handle })
    await asker.call(answerer.self, PROTOCOL, { header: 1 }, CALL)
    const open = failsWith(
      asker.call(answerer.self, OTHER_PROTOCOL, { header: 1 }, CALL),
      'PEER_LOST',
    )
    const lost = [asker, answerer].map((peer) => new Promise((resolve) => peer.onLost(resolve)))
    await asked.promise
    asker.disconnect(answerer.self)
    await open
    expect(await Promise.all(lost)).toEqual([answerer.self, asker.self])
    expect((await asker.call(answerer.self, PROTOCOL, { header: 2 }, CALL)).header).toBe(2)
  })

  property('has no connection with a peer that it shuns, for as long as it said', async (swarm) => {
    const [asker, answerer] = swarm.peers as [Network, Network]
    asker.learn(answerer.self, answerer.addresses)
    answerer.learn(asker.self, asker.addresses)
    for (const peer of [asker, answerer]) peer.handle(PROTOCOL, echo)
    await asker.call(answerer.self, PROTOCOL, { header: 1 }, CALL)
    const lost = new Promise((resolve) => asker.onLost(resolve))
    answerer.shun(asker.self, SHUN_MS)
    expect(await lost).toBe(answerer.self)
    const shut = await asker.call(answerer.self, PROTOCOL, { header: 1 }, CALL).catch((e) => e.code)
    expect(['UNREACHABLE', 'PEER_LOST']).toContain(shut)
    await failsWith(answerer.call(asker.self, PROTOCOL, { header: 1 }, CALL), 'UNREACHABLE')
    await swarm.clock.sleep(SHUN_MS)
    expect((await asker.call(answerer.self, PROTOCOL, { header: 2 }, CALL)).header).toBe(2)
  })

  property('cannot call an unknown peer', async ({ peers, stranger }) => {
    await failsWith(peers[0]!.call(stranger, PROTOCOL, { header: 0 }, CALL), 'UNREACHABLE')
  })
}

export function announcements(property: DeclareTest): void {
  property(
    'reach everyone else who listens, not the sender',
    async ({ peers, clock }) => {
      const [sender, ...others] = peers as [Network, ...Network[]]
      for (const other of others) await sender.connect(other.addresses[0]!, CALL)
      const toSender = vi.fn()
      const toRemoved = vi.fn()
      const toOthers = others.map(() => vi.fn())
      sender.subscribe(TOPIC, toSender)
      others.forEach((other, i) => {
        other.subscribe(TOPIC, toOthers[i]!)
        other.subscribe(TOPIC, toRemoved)()
      })
      // Announcements may be lost: the first may leave before the subscriptions of the others are known.
      while (toOthers.some((heard) => heard.mock.calls.length === 0)) {
        sender.publish(TOPIC, { stage: 2 })
        await clock.sleep(50)
      }
      for (const heard of toOthers) expect(heard).toHaveBeenCalledWith(sender.self, { stage: 2 })
      expect(toSender).not.toHaveBeenCalled()
      expect(toRemoved).not.toHaveBeenCalled()
    },
    3,
  )

  property('are refused if too long', async ({ peers: [peer] }) => {
    const header = 'x'.repeat(LIMITS.announcement)
    expect(() => peer!.publish(TOPIC, header)).toThrow(
      expect.objectContaining({ code: 'TOO_LARGE' }),
    )
  })

  property('can be published and unsubscribed after the stop', async ({ peers: [peer] }) => {
    const remove = peer!.subscribe(TOPIC, () => {})
    await peer!.stop()
    expect(() => peer!.publish(TOPIC, 1)).not.toThrow()
    expect(remove).not.toThrow()
  })
}
