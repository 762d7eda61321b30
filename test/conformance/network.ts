/**
 * What every `Network` promises, as tests. Whoever implements one passes a factory; nothing here knows whether time
 * is real or virtual, so that both are held to the same words.
 */
import { describe, test } from 'vitest'
import { calls } from './network-calls.ts'
import { failures, refusals } from './network-failures.ts'
import type { Promises, TestSwarm } from './network-fixture.ts'
import { announcements, findingPeers } from './network-peers.ts'

export type { TestSwarm }

export type CreateSwarm = (peerCount: number) => Promise<TestSwarm>

export function networkConformance(name: string, create: CreateSwarm): void {
  const promises: Promises = (title, body, peerCount = 2) =>
    test(title, async () => {
      const swarm = await create(peerCount)
      try {
        await swarm.run(() => body(swarm))
      } finally {
        await swarm.stop()
      }
    })

  describe(`${name} as a network`, () => {
    describe('finding peers', () => findingPeers(promises))
    describe('calls', () => calls(promises))
    describe('refusals', () => refusals(promises))
    describe('failures', () => failures(promises))
    describe('announcements', () => announcements(promises))
  })
}
