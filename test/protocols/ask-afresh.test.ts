/** A question to a peer outside of the roster, whose connection may be dead although neither side was told. */
import { expect, test } from 'vitest'
import { askAfresh } from '../../protocols/ask-afresh.ts'
import { heartbeat } from '../../protocols/membership.ts'
import { serve } from '../../protocols/procedure.ts'
import { VirtualNetwork } from '../../sim/world/network.ts'
import { World } from '../../sim/world/world.ts'

test('a silent peer is dialled anew by the next question', async () => {
  const world = new World({ seed: 1 })
  const links = () => ({ latencyMs: 1, bytesPerMs: Number.POSITIVE_INFINITY })
  const network = new VirtualNetwork({ world, links })
  const [asker, outsider] = [network.join('asker'), network.join('outsider')]
  const answer = { epoch: 1, session: 1, queuedWork: 0, workingMs: 0 }
  serve(outsider, heartbeat, { serve: async () => ({ answer }) }, () => {})
  const { signal } = new AbortController()
  const ask = () => {
    const question = { run: 'a'.repeat(64), epoch: 1 }
    const options = { timeoutMs: 5_000, signal }
    return world.run(askAfresh(asker, 'outsider', heartbeat, question, options), {
      waitingFor: 'an answer',
    })
  }
  asker.learn('outsider', outsider.addresses)
  await ask()
  await world.run(world.clock.sleep(5_000), { waitingFor: 'a pause' })
  // The outsider moves: only a new dial, to the new address, reaches it.
  network.move('outsider')
  asker.learn('outsider', outsider.addresses)
  await expect(ask()).rejects.toMatchObject({ code: 'TIMEOUT' })
  expect(await ask()).toEqual(answer)
})
