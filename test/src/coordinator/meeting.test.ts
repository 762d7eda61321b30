/** A coordinator that meets another incarnation of the run, and is deposed while it asks whether its members may go over. */
import { expect, test } from 'vitest'
import { Meeting } from '../../../src/coordinator/meeting.ts'
import { Deposed } from '../../../src/membership/agreement.ts'
import { Incarnation } from '../../../src/membership/incarnation.ts'
import { createPartContext } from './part-context.ts'

test('a coordinator that is deposed meanwhile yields nothing, and its error reaches nobody', async () => {
  const { agreement, calls } = createPartContext([0, 1, 2])
  const over = new AbortController()
  const went: unknown[] = []
  const meeting = new Meeting({
    ...agreement,
    signal: over.signal,
    incarnation: new Incarnation('a'.repeat(64)),
    founding: { isWaiting: false },
    superseded: (...to) => went.push(to),
  })
  const unhandled: unknown[] = []
  const note = (error: unknown) => unhandled.push(error)
  process.on('unhandledRejection', note)
  meeting.met({
    run: agreement.runId,
    incarnation: 'b'.repeat(64),
    committed: 7,
    coordinator: { peer: 'peer-9', addresses: [] },
  })
  expect(calls.map(({ peer }) => peer)).toEqual(['peer-9'])
  over.abort(new Deposed(null, 'epoch 5 names peer-1'))
  await new Promise((resolve) => setImmediate(resolve))
  process.off('unhandledRejection', note)
  expect(unhandled).toEqual([])
  expect(went).toEqual([])
})
