/** The departure signal of a node: the user's signal, or a spot notice from a cloud's metadata service. */
import { expect, onTestFinished, test } from 'vitest'
import { systemClock } from '../../../protocols/clock.ts'
import { withDepartureSignal } from '../../../src/node/departure-signal.ts'
import { startMetadataServer } from '../../chaos/metadata-server.ts'

const clock = systemClock

/** Work that ends when the signal aborts. It gives the reason of the signal. */
function untilAborted(signal: AbortSignal): Promise<unknown> {
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(signal.reason), { once: true })
  })
}

test('a spot notice gives the time for handing over the stage, less a margin for the end', async () => {
  const server = await startMetadataServer()
  onTestFinished(() => server.close())
  server.takeBack(7)
  const { signal } = new AbortController()
  const options = { clock, signal, spot: 'aws', spotUrl: server.urlOf(7) } as const
  const reason = await withDepartureSignal(options, untilAborted)
  expect(reason).toEqual({ reason: expect.stringMatching(/^AWS: terminate/), withinMs: 115_000 })
})

test('the signal of the user aborts the work while there is no spot notice', async () => {
  const server = await startMetadataServer()
  onTestFinished(() => server.close())
  const user = new AbortController()
  const options = { clock, signal: user.signal, spot: 'aws', spotUrl: server.urlOf(1) } as const
  const reason = withDepartureSignal(options, untilAborted)
  user.abort('Ctrl-C')
  expect(await reason).toBe('Ctrl-C')
})

test('a missing metadata service is an error if the user asked for spot notices', async () => {
  const server = await startMetadataServer()
  const url = server.urlOf(1)
  server.close()
  const { signal } = new AbortController()
  const options = { clock, signal, spot: 'auto', spotUrl: url } as const
  await expect(withDepartureSignal(options, untilAborted)).rejects.toMatchObject({
    name: 'InputError',
    message: expect.stringContaining('--spot off'),
  })
})

test("with --spot off the work gets the user's own signal, and no service is asked", async () => {
  const { signal } = new AbortController()
  const options = { clock, signal, spot: 'off', spotUrl: undefined } as const
  expect(await withDepartureSignal(options, async (received) => received)).toBe(signal)
})
