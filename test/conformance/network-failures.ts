/** What may not be said, and what goes wrong while it is: every call ends, with the error that fits. */
import { expect, vi } from 'vitest'
import { ProtocolError } from '../../protocols/errors.ts'
import { LIMITS, type Message, type PeerId } from '../../protocols/network.ts'
import {
  acceptAnswer,
  CALL,
  echo,
  failsWith,
  forever,
  noise,
  PROTOCOL,
  type Promises,
  pair,
  takesBody,
} from './network-fixture.ts'

/** The tests of what a peer refuses. The function is long because it is a list of tests, each short. */
export function refusals(promises: Promises): void {
  promises(
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

  promises('refuses a body where the handler takes none', async (swarm) => {
    const [asker, answerer] = await pair(swarm)
    const handle = vi.fn(echo.handle)
    answerer.handle(PROTOCOL, { handle })
    const message = { header: null, body: noise(1000) }
    await failsWith(asker.call(answerer.self, PROTOCOL, message, CALL), 'REFUSED')
    expect(handle).not.toHaveBeenCalled()
  })

  promises('refuses an answer with a body that the caller did not ask for', async (swarm) => {
    const [asker, answerer] = await pair(swarm)
    answerer.handle(PROTOCOL, { handle: async () => ({ header: null, body: noise(1000) }) })
    await failsWith(asker.call(answerer.self, PROTOCOL, { header: null }, CALL), 'REFUSED')
  })

  promises('sends nothing that is over the limits of the wire', async (swarm) => {
    const [asker, answerer] = await pair(swarm)
    const handle = vi.fn(echo.handle)
    answerer.handle(PROTOCOL, { ...takesBody, handle })
    const body = new Uint8Array(LIMITS.body + 1)
    const header = 'x'.repeat(LIMITS.header)
    await failsWith(asker.call(answerer.self, PROTOCOL, { header: null, body }, CALL), 'TOO_LARGE')
    await failsWith(asker.call(answerer.self, PROTOCOL, { header }, CALL), 'TOO_LARGE')
    expect(handle).not.toHaveBeenCalled()
  })

  promises('knows a protocol only while it has a handler', async (swarm) => {
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

  promises('has one handler a protocol', async ({ peers: [peer] }) => {
    peer!.handle(PROTOCOL, echo)
    expect(() => peer!.handle(PROTOCOL, echo)).toThrow(PROTOCOL)
  })
}

/** The tests of failed calls. The function is long because it is a list of tests, each short. */
export function failures(promises: Promises): void {
  promises("brings a handler's ProtocolError to the caller", async (swarm) => {
    const [asker, answerer] = await pair(swarm)
    answerer.handle(PROTOCOL, {
      async handle() {
        throw new ProtocolError('WRONG_SHAPE', 'is [2, 3], must be [3, 2]')
      },
    })
    const call = asker.call(answerer.self, PROTOCOL, { header: null }, CALL)
    expect((await failsWith(call, 'WRONG_SHAPE')).message).toContain('is [2, 3], must be [3, 2]')
  })

  promises('makes any other error of a handler INTERNAL', async (swarm) => {
    const [asker, answerer] = await pair(swarm)
    answerer.handle(PROTOCOL, {
      async handle() {
        throw new TypeError('x is not a function')
      },
    })
    await failsWith(asker.call(answerer.self, PROTOCOL, { header: null }, CALL), 'INTERNAL')
  })

  promises('does not run the handler if accept fails or gives the wrong room', async (swarm) => {
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
  })

  promises('ends a call at its deadline and says for whom it waited', async (swarm) => {
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

  promises('ends a call when its signal aborts, with the reason of that', async (swarm) => {
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

  promises('stores nothing of an answer that comes too late', async (swarm) => {
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
    // Bodies of one protocol come in the order they are sent: the late one has passed when this one is there.
    const next = { ...CALL, accept: acceptAnswer }
    await asker.call(answerer.self, PROTOCOL, { header: 'next' }, next)
    expect(accept).not.toHaveBeenCalled()
  })

  promises('loses a peer that stops: pending calls end, listeners hear of it', async (swarm) => {
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
  })

  promises('ends its own calls when it stops', async (swarm) => {
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
