/** Rounds of questions: which ones a loss ends, and which it does not. */
import { expect, test } from 'vitest'
import { z } from 'zod'
import { ProtocolError } from '../../../protocols/errors.ts'
import { procedure } from '../../../protocols/procedure.ts'
import { Health } from '../../../src/coordinator/health.ts'
import { Round } from '../../../src/coordinator/round.ts'
import { createPartContext } from './part-context.ts'

const echo = procedure('/echo/1', z.number(), z.number())

/** Stage 1 has two holders, and `peer-4` is a spare. */
function createRounds() {
  const context = createPartContext([0, 1, 1, 2, null])
  const health = new Health({ ...context.agreement, changed: context.changed })
  const { network } = context.agreement
  const begin = () => new Round({ network, health })
  const ask = (round: Round, peer = 'peer-1') => {
    const asked = round.ask(peer, echo, 1, 1_000)
    const outcome = asked.then(
      (answer) => answer,
      (error: ProtocolError) => error.code,
    )
    return { outcome, call: context.calls.at(-1)! }
  }
  return { ...context, health, begin, ask }
}

test('a question belongs to the round that it was asked in', async () => {
  const { begin, ask } = createRounds()
  const first = begin()
  const one = ask(first)
  first.end()
  const second = begin()
  const other = ask(second)
  second.interrupt('a microbatch is stuck')
  expect(await other.outcome).toBe('PEER_LOST')
  one.call.answer(7)
  expect(await one.outcome).toBe(7)
})

test('the loss of a holder interrupts the round, not one that has ended', async () => {
  const { begin, ask, health } = createRounds()
  const ended = begin()
  const one = ask(ended)
  ended.end()
  const other = ask(begin())
  health.lose('peer-2', 'as a test')
  expect(await other.outcome).toBe('PEER_LOST')
  one.call.answer(7)
  expect(await one.outcome).toBe(7)
})

test('the loss of a spare interrupts nothing', async () => {
  const { begin, ask, health } = createRounds()
  const asked = ask(begin())
  health.lose('peer-4', 'as a test')
  asked.call.answer(7)
  expect(await asked.outcome).toBe(7)
})

test('a lost holder that is still in the roster interrupts a new round at once', async () => {
  const { begin, ask, health } = createRounds()
  health.lose('peer-2', 'as a test')
  expect(await ask(begin()).outcome).toBe('PEER_LOST')
})

test('a member that fails and gives no sign of life is lost, one that gives a sign is not', async () => {
  const { begin, ask, health, dead } = createRounds()
  const round = begin()
  dead.add('peer-1')
  const failures = [ask(round, 'peer-1'), ask(round, 'peer-3')]
  for (const { call } of failures) call.fail(new ProtocolError('TIMEOUT', 'too late'))
  for (const { outcome } of failures) expect(await outcome).toBe('TIMEOUT')
  expect((await health.losses()).map(({ peer }) => peer)).toEqual(['peer-1'])
})

test('a refusal casts no suspicion on the member that refuses', async () => {
  const { begin, ask, health, dead } = createRounds()
  dead.add('peer-1')
  const { outcome, call } = ask(begin())
  call.fail(new ProtocolError('REFUSED', 'no'))
  expect(await outcome).toBe('REFUSED')
  expect(health.lost.ids).toEqual([])
})
