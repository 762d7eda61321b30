/** Which members are lost, and when the members that answer are a quorum. */
import { expect, test } from 'vitest'
import { ProtocolError } from '../../../protocols/errors.ts'
import { Health } from '../../../src/coordinator/health.ts'
import { entriesOf } from '../../fixtures/swarm.ts'
import { createPartContext } from './part-context.ts'

/** Stage 1 has two holders, stage 2 has one, and `peer-4` is a spare. */
function createHealth() {
  const context = createPartContext([0, 1, 1, 2, null])
  return { ...context, health: new Health({ ...context.agreement, changed: context.changed }) }
}

test('a stage is emptied when its last holder is lost, and that time is kept', () => {
  const { health, pass } = createHealth()
  health.lose('peer-1', 'as a test')
  expect(health.lost.emptiedAt(1)).toBeUndefined()
  pass(100)
  health.lose('peer-2', 'as a test')
  health.lose('peer-3', 'as a test')
  pass(100)
  expect(health.lost.emptiedAt(1)).toBe(100)
  expect(health.lost.emptiedAt(2)).toBe(100)
  health.lost.filled(1)
  expect(health.lost.emptiedAt(1)).toBeUndefined()
})

test('a member is lost once, for the first reason', () => {
  const { health, entries } = createHealth()
  health.miss('peer-3', 'it is silent')
  health.lose('peer-3', 'it is wrong')
  health.lose('stranger', 'it is no member')
  expect(entriesOf(entries, 'lost')).toMatchObject([
    { lost: 'peer-3', stage: 2, reason: 'it is silent' },
  ])
})

test('a coordinator that does not answer itself in time stays in its own roster', () => {
  const { health, entries } = createHealth()
  health.miss('peer-0', 'waited 5000 ms for this peer itself')
  health.lose('peer-0', 'its weights differ')
  expect(health.lost.ids).toEqual([])
  expect(entriesOf(entries, 'lost')).toEqual([])
})

test('each loss wakes the coordinator', async () => {
  const { health, changed } = createHealth()
  const next = changed.next()
  health.lose('peer-4', 'as a test')
  await next
})

test('silent members that answer again are not lost, and with them there is a quorum', async () => {
  const { health, entries } = createHealth()
  for (const peer of ['peer-1', 'peer-2', 'peer-3']) health.miss(peer, 'it is silent')
  health.lose('peer-4', 'it is wrong')
  await health.quorum()
  expect(health.lost.ids).toEqual([4])
  expect(health.lost.emptiedAt(2)).toBeUndefined()
  expect(entriesOf(entries, 'notice')).toHaveLength(3)
})

test('silent members stay lost while the others are a quorum', async () => {
  const { health } = createHealth()
  for (const peer of ['peer-1', 'peer-2']) health.miss(peer, 'it is silent')
  await health.quorum()
  expect(health.lost.ids).toEqual([1, 2])
})

test('a change does not wait for a member that is lost', async () => {
  const { health } = createHealth()
  const loss = health.lost.lossOf(3)
  health.miss('peer-3', 'it is silent')
  await expect(loss).rejects.toMatchObject({ code: 'PEER_LOST' })
  await expect(health.lost.lossOf(3)).rejects.toMatchObject({ code: 'PEER_LOST' })
})

test('the third failure makes a member lost, and a member that joins again starts from zero failures', () => {
  const { health } = createHealth()
  expect([1, 2, 3].map(() => health.failsTooOften(3))).toEqual([false, false, true])
  health.forget(3)
  expect(health.failsTooOften(3)).toBe(false)
})

test('a suspect is asked over a new connection when the standing one is dead', async () => {
  const { health, silent, dead } = createHealth()
  silent.add('peer-3')
  dead.add('peer-1')
  await Promise.all(['peer-1', 'peer-3'].map((peer) => health.suspect(peer, 'as a test')))
  expect(health.lost.ids).toEqual([1])
})

test('a silent member is not lost while this machine itself is late, unless it stays silent', async () => {
  const context = createPartContext([0, 1, 1, 2, null])
  const { agreement, changed, pass } = context
  let wake = () => {}
  agreement.clock.sleep = () => new Promise<void>((resolve) => (wake = resolve))
  let silentUntil = Number.POSITIVE_INFINITY
  const call = agreement.network.call.bind(agreement.network)
  agreement.network.call = async (peer, protocol, message, options) => {
    if (agreement.clock.now() >= silentUntil) return call(peer, protocol, message, options)
    pass(options.timeoutMs)
    throw new ProtocolError('TIMEOUT', `${peer} is silent`)
  }
  const health = new Health({ ...agreement, changed })
  // The beat should have gone on after a second: this process stood still for four more.
  pass(5_000)
  wake()
  await Promise.resolve()
  silentUntil = agreement.clock.now() + 5_000
  await health.suspect('peer-1', 'as a test')
  expect(health.lost.ids).toEqual([])
  silentUntil = Number.POSITIVE_INFINITY
  await health.suspect('peer-2', 'as a test')
  expect(health.lost.ids).toEqual([2])
})
