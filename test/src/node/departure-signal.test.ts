/** What makes a node go: the user's signal, or what a cloud's metadata service says. */
import { expect, onTestFinished, test } from 'vitest'
import { systemClock } from '../../../protocols/clock.ts'
import { withDepartureSignal } from '../../../src/node/departure-signal.ts'
import { startMetadataServer } from '../../chaos/metadata-server.ts'

const clock = systemClock

/** Work that ends as soon as it is told to; gives the reason. */
function untilTold(signal: AbortSignal): Promise<unknown> {
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(signal.reason), { once: true })
  })
}

test('a spot notice tells how long the stage may take to change hands, some of the time left for the end', async () => {
  const server = await startMetadataServer()
  onTestFinished(() => server.close())
  server.takeBack(7)
  const { signal } = new AbortController()
  const options = { clock, signal, spot: 'aws', spotUrl: server.urlOf(7) } as const
  const reason = await withDepartureSignal(options, untilTold)
  expect(reason).toEqual({ reason: expect.stringMatching(/^AWS: terminate/), withinMs: 115_000 })
})

test('the user is heard while the metadata service has nothing to say', async () => {
  const server = await startMetadataServer()
  onTestFinished(() => server.close())
  const user = new AbortController()
  const options = { clock, signal: user.signal, spot: 'aws', spotUrl: server.urlOf(1) } as const
  const told = withDepartureSignal(options, untilTold)
  user.abort('Ctrl-C')
  expect(await told).toBe('Ctrl-C')
})

test('whoever asks to be warned where there is no metadata service is told so', async () => {
  const server = await startMetadataServer()
  const url = server.urlOf(1)
  server.close()
  const { signal } = new AbortController()
  const options = { clock, signal, spot: 'auto', spotUrl: url } as const
  await expect(withDepartureSignal(options, untilTold)).rejects.toMatchObject({
    name: 'InputError',
    message: expect.stringContaining('--spot off'),
  })
})

test("without --spot the signal is the user's own, and nothing is asked", async () => {
  const { signal } = new AbortController()
  const options = { clock, signal, spot: 'off', spotUrl: undefined } as const
  expect(await withDepartureSignal(options, async (given) => given)).toBe(signal)
})
