import { expect, test } from 'vitest'
import { type Link, Wire } from '../../../sim/world/wire.ts'

const body = { headBytes: 0, bodyBytes: 1000 }
const link: Link = { latencyMs: 5, bytesPerMs: 100 }

/** Milliseconds that loads take which are all sent at 0. */
function transits(queue: Link['queue'], pairs: readonly (readonly [string, string])[]): number[] {
  const wire = new Wire(() => (queue === undefined ? link : { ...link, queue }))
  return pairs.map(([from, to]) => wire.transitMs(0, from, to, body))
}

const PAIRS = [
  ['a', 'x'],
  ['a', 'y'],
  ['b', 'x'],
] as const

test('bodies wait for those of the same sender, unless their link says otherwise', () => {
  expect(transits(undefined, PAIRS)).toEqual([15, 25, 15])
})

test('bodies on a shared link wait for those of all senders', () => {
  expect(transits('cable', PAIRS)).toEqual([15, 25, 35])
})

test('bodies on a link without a queue do not wait', () => {
  expect(transits(null, PAIRS)).toEqual([15, 15, 15])
})
