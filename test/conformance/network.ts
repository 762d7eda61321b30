/**
 * Tests of the properties of every `Network`. An implementation passes a factory. The tests are the same for real and virtual
 * time.
 */
import { describe, test } from 'vitest'
import { calls } from './network-calls.ts'
import { failures, refusals } from './network-failures.ts'
import type { DeclareTest, TestSwarm } from './network-fixture.ts'
import { announcements, findingPeers } from './network-peers.ts'

export type { TestSwarm }

export type CreateSwarm = (peerCount: number) => Promise<TestSwarm>

export function networkConformance(name: string, create: CreateSwarm): void {
  const property: DeclareTest = (title, body, peerCount = 2) =>
    test(title, async () => {
      const swarm = await create(peerCount)
      try {
        await swarm.run(() => body(swarm))
      } finally {
        await swarm.stop()
      }
    })

  describe(`${name} as a network`, () => {
    describe('finding peers', () => findingPeers(property))
    describe('calls', () => calls(property))
    describe('refusals', () => refusals(property))
    describe('failures', () => failures(property))
    describe('announcements', () => announcements(property))
  })
}
