/** Tests of refusals and failures: every call ends with the right error. */
import { expect, vi } from 'vitest'
import { ProtocolError } from '../../protocols/errors.ts'
import { LIMITS, type Message, type PeerId } from '../../protocols/network.ts'
import {
  acceptAnswer,
  CALL,
  type DeclareTest,
  echo,
  failsWith,
  forever,
  noise,
  PROTOCOL,
  pair,
  takesBody,
} from './network-fixture.ts'

/** Tests of refusals. The function is long because it is a list of short tests. */
export function refusals(property: DeclareTest): void {
  property(
    'does not run the handler for what accept refuses, and goes on after it',
    async (swarm) => {
      const [asker, answerer] = await pair(swarm)
      const handle = vi.fn(echo.handle)
      answerer.handle(PROTOCOL, {
        accept(_from, header, length) {
          if (header === 'stale') throw new ProtocolError('STALE', 'of step 7, now at 9')
          return new Uint8Array(length)
        },
        handle,
      })
      const options = { ...CALL, accept: acceptAnswer }
      const ask = (header: string) =>
        asker.call(answerer.self, PROTOCOL, { header, body: noise(1_000_000) }, options)
      const error = await failsWith(ask('stale'), 'STALE')
      expect(error.message).toContain('of step 7, now at 9')
      expect(handle).not.toHaveBeenCalled()
      expect((await ask('fresh')).header).toBe('fresh')
    },
  )

  property('refuses a body if the handler accepts none', async (swarm) => {
    const [asker, answerer] = await pair(swarm)
    const handle = vi.fn(echo.handle)
    answerer.handle(PROTOCOL, { handle })
    const message = { header: null, body: noise(1000) }
    await failsWith(asker.call(answerer.self, PROTOCOL, message, CALL), 'REFUSED')
    expect(handle).not.toHaveBeenCalled()
  })

  property('refuses an answer with a body that the caller did not ask for', async (swarm) => {
    const [asker, answerer] = await pair(swarm)
    answerer.handle(PROTOCOL, { handle: async () => ({ header: null, body: noise(1000) }) })
    await failsWith(asker.call(answerer.self, PROTOCOL, { header: null }, CALL), 'REFUSED')
  })

  property('sends no message over the limits of the wire', async (swarm) => {
    const [asker, answerer] = await pair(swarm)
    const handle = vi.fn(echo.handle)
    answerer.handle(PROTOCOL, { ...takesBody, handle })
    const body = new Uint8Array(LIMITS.body + 1)
    const header = 'x'.repeat(LIMITS.header)
    await failsWith(asker.call(answerer.self, PROTOCOL, { header: null, body }, CALL), 'TOO_LARGE')
    await failsWith(asker.call(answerer.self, PROTOCOL, { header }, CALL), 'TOO_LARGE')
    expect(handle).not.toHaveBeenCalled()
  })

  property('serves a protocol only while it has a handler', async (swarm) => {
    const [asker, answerer] = await pair(swarm)
    const ask = () => asker.call(answerer.self, PROTOCOL, { header: 'h' }, CALL)
    await failsWith(ask(), 'UNKNOWN_PROTOCOL')
    for (let round = 0; round < 2; round++) {
      const remove = answerer.handle(PROTOCOL, echo)
      expect((await ask()).header).toBe('h')
      remove()
      await failsWith(ask(), 'UNKNOWN_PROTOCOL')
    }
  })

  property('has one handler for each protocol', async ({ peers: [peer] }) => {
    peer!.handle(PROTOCOL, echo)
    expect(() => peer!.handle(PROTOCOL, echo)).toThrow(PROTOCOL)
  })
}

/** Tests of failed calls. The function is long because it is a list of short tests. */
export function failures(property: DeclareTest): void {
  property("returns a handler's ProtocolError to the caller", async (swarm) => {
    const [asker, answerer] = await pair(swarm)
    answerer.handle(PROTOCOL, {
      async handle() {
        throw new ProtocolError('WRONG_SHAPE', 'is [2, 3], must be [3, 2]')
      },
    })
    const call = asker.call(answerer.self, PROTOCOL, { header: null }, CALL)
    expect((await failsWith(call, 'WRONG_SHAPE')).message).toContain('is [2, 3], must be [3, 2]')
  })

  property('returns any other error of a handler as INTERNAL', async (swarm) => {
    const [asker, answerer] = await pair(swarm)
    answerer.handle(PROTOCOL, {
      async handle() {
        throw new TypeError('x is not a function')
      },
    })
    await failsWith(asker.call(answerer.self, PROTOCOL, { header: null }, CALL), 'INTERNAL')
  })

  property(
    'does not run the handler if accept fails or returns memory of the wrong length',
    async (swarm) => {
      const [asker, answerer] = await pair(swarm)
      const handle = vi.fn(echo.handle)
      answerer.handle(PROTOCOL, {
        accept(_from, header, length) {
          if (header === 'fail') throw new TypeError('x is not a function')
          return new Uint8Array(length + 1)
        },
        handle,
      })
      for (const header of ['fail', 'too much']) {
        const message = { header, body: noise(1000) }
        await failsWith(asker.call(answerer.self, PROTOCOL, message, CALL), 'INTERNAL')
      }
      expect(handle).not.toHaveBeenCalled()
    },
  )

  property('ends a call at its deadline and names the peer', async (swarm) => {
    const [asker, answerer] = await pair(swarm)
    answerer.handle(PROTOCOL, { handle: () => forever })
    const before = swarm.clock.now()
    const call = asker.call(answerer.self, PROTOCOL, { header: null }, { timeoutMs: 150 })
    const error = await failsWith(call, 'TIMEOUT')
    expect(error.message).toContain(answerer.self)
    expect(error.message).toContain(PROTOCOL)
    // Timers may fire up to a millisecond early.
    expect(swarm.clock.now() - before).toBeGreaterThanOrEqual(149)
  })

  property('ends a call when its signal aborts, with the reason of the signal', async (swarm) => {
    const [asker, answerer] = await pair(swarm)
    const asked = Promise.withResolvers<void>()
    answerer.handle(PROTOCOL, {
      handle() {
        asked.resolve()
        return forever
      },
    })
    const leaving = new AbortController()
    const ask = () =>
      asker.call(answerer.self, PROTOCOL, { header: null }, { ...CALL, signal: leaving.signal })
    const during = expect(ask()).rejects.toThrow('leaving')
    await asked.promise
    leaving.abort(new Error('leaving'))
    await during
    await expect(ask()).rejects.toThrow('leaving')
  })

  property('stores nothing of a late answer', async (swarm) => {
    const [asker, answerer] = await pair(swarm)
    const asked = Promise.withResolvers<void>()
    const late = Promise.withResolvers<void>()
    answerer.handle(PROTOCOL, {
      ...takesBody,
      async handle(_from, { header }) {
        asked.resolve()
        if (header === 'late') await late.promise
        return { header, body: noise(1000) } as Message
      },
    })
    const leaving = new AbortController()
    const accept = vi.fn(acceptAnswer)
    const options = { ...CALL, signal: leaving.signal, accept }
    const call = asker.call(answerer.self, PROTOCOL, { header: 'late' }, options)
    const ended = expect(call).rejects.toThrow('leaving')
    await asked.promise
    leaving.abort(new Error('leaving'))
    await ended
    late.resolve()
    // Bodies of one protocol arrive in order, so the late body has passed when this one has arrived.
    const next = { ...CALL, accept: acceptAnswer }
    await asker.call(answerer.self, PROTOCOL, { header: 'next' }, next)
    expect(accept).not.toHaveBeenCalled()
  })

  property(
    'loses a peer that stops: pending calls end, and listeners are called',
    async (swarm) => {
      const [asker, answerer] = await pair(swarm)
      const asked = Promise.withResolvers<void>()
      answerer.handle(PROTOCOL, {
        handle() {
          asked.resolve()
          return forever
        },
      })
      const lost = Promise.withResolvers<PeerId>()
      const removed = vi.fn()
      asker.onLost(removed)()
      asker.onLost(lost.resolve)
      const ask = () => asker.call(answerer.self, PROTOCOL, { header: null }, CALL)
      const pending = failsWith(ask(), 'PEER_LOST')
      await asked.promise
      await answerer.stop()
      await pending
      expect(await lost.promise).toBe(answerer.self)
      expect(removed).not.toHaveBeenCalled()
      await failsWith(ask(), 'UNREACHABLE')
    },
  )

  property('ends its calls when it stops', async (swarm) => {
    const [asker, answerer] = await pair(swarm)
    const asked = Promise.withResolvers<void>()
    answerer.handle(PROTOCOL, {
      handle() {
        asked.resolve()
        return forever
      },
    })
    const call = asker.call(answerer.self, PROTOCOL, { header: null }, CALL)
    const pending = failsWith(call, 'PEER_LOST')
    await asked.promise
    await asker.stop()
    await pending
  })
}
