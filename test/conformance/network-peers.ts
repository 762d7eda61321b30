/** Peers find each other, and hear what is meant for all. */
import { expect, vi } from 'vitest'
import { LIMITS, type Network } from '../../protocols/network.ts'
import { CALL, echo, failsWith, PROTOCOL, type Promises, pair, TOPIC } from './network-fixture.ts'

export function findingPeers(promises: Promises): void {
  promises('connects to an address and says who answers there', async ({ peers }) => {
    const [asker, answerer] = peers as [Network, Network]
    expect(await asker.connect(answerer.addresses[0]!, CALL)).toBe(answerer.self)
  })

  promises('fails to connect where nobody listens, and names the address', async (swarm) => {
    const error = await failsWith(swarm.peers[0]!.connect(swarm.nowhere, CALL), 'UNREACHABLE')
    expect(error.message).toContain(swarm.nowhere)
  })

  promises('calls both ways over a connection that one side made', async (swarm) => {
    const [asker, answerer] = await pair(swarm)
    asker.handle(PROTOCOL, echo)
    answerer.handle(PROTOCOL, echo)
    const there = await asker.call(answerer.self, PROTOCOL, { header: 'there' }, CALL)
    const back = await answerer.call(asker.self, PROTOCOL, { header: 'back' }, CALL)
    expect([there.header, back.header]).toEqual(['there', 'back'])
  })

  promises('calls a peer of which it has only learned the address', async ({ peers }) => {
    const [asker, answerer] = peers as [Network, Network]
    answerer.handle(PROTOCOL, echo)
    asker.learn(answerer.self, answerer.addresses)
    const answer = await asker.call(answerer.self, PROTOCOL, { header: 1 }, CALL)
    expect(answer.header).toBe(1)
  })

  promises('cannot call a peer that nobody knows', async ({ peers, stranger }) => {
    await failsWith(peers[0]!.call(stranger, PROTOCOL, { header: 0 }, CALL), 'UNREACHABLE')
  })
}

export function announcements(promises: Promises): void {
  promises(
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
      // Announcements are best effort: the first may go out before the others' subscriptions are known.
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

  promises('are refused when too long', async ({ peers: [peer] }) => {
    const header = 'x'.repeat(LIMITS.announcement)
    expect(() => peer!.publish(TOPIC, header)).toThrow(
      expect.objectContaining({ code: 'TOO_LARGE' }),
    )
  })

  promises('may be published and unsubscribed from when all is over', async ({ peers: [peer] }) => {
    const remove = peer!.subscribe(TOPIC, () => {})
    await peer!.stop()
    expect(() => peer!.publish(TOPIC, 1)).not.toThrow()
    expect(remove).not.toThrow()
  })
}
