/** The question whether a peer is alive, over a link with so long a latency that a handshake alone takes a second. */
import { expect, test } from 'vitest'
import { heartbeat } from '../../../protocols/membership.ts'
import { serve } from '../../../protocols/procedure.ts'
import { VirtualNetwork } from '../../../sim/world/network.ts'
import { World } from '../../../sim/world/world.ts'
import { askForSignOfLife } from '../../../src/membership/sign-of-life.ts'

const RUN = 'a'.repeat(64)

function twoPeers() {
  const world = new World({ seed: 1 })
  const network = new VirtualNetwork({
    world,
    links: () => ({ latencyMs: 157, bytesPerMs: Number.POSITIVE_INFINITY }),
  })
  const [asker, suspect] = [network.join('asker'), network.join('suspect')]
  const answer = { epoch: 1, session: 1, queuedWork: 0, workingMs: 0 }
  serve(suspect, heartbeat, { serve: async () => ({ answer }) }, () => {})
  asker.learn('suspect', suspect.addresses)
  let losses = 0
  suspect.onLost(() => losses++)
  const ask = async () => {
    const { signal } = new AbortController()
    const answered = askForSignOfLife(asker, 'suspect', RUN, 1, signal)
    return world.run(answered, { waitingFor: 'a sign of life' })
  }
  return { world, network, ask, losses: () => losses }
}

test('a connection that was made for the question is not ended, so that two peers which ask each other do not go on breaking it', async () => {
  const { ask, losses } = twoPeers()
  await ask()
  expect(losses()).toBe(0)
})

test('a connection that stood before and is silent is ended, and the next one answers', async () => {
  const { world, network, ask, losses } = twoPeers()
  await ask()
  await world.run(world.clock.sleep(5_000), { waitingFor: 'a pause' })
  let isDead = true
  network.disturb((_, __, kind) => {
    if (kind === 'handshake') isDead = false
    return isDead && kind === 'question' ? 'swallowed' : undefined
  })
  await ask()
  expect(losses()).toBe(1)
})
