/** Spot notices of three clouds, from fake metadata services on loopback. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { type Clock, systemClock } from '../../../protocols/clock.ts'
import { type SpotProvider, watchSpotNotice } from '../../../src/node/spot-notice.ts'

/** A clock on which pauses between two questions end at once, and deadlines never pass. */
const clock: Clock = {
  now: systemClock.now,
  sleep: (ms, signal) =>
    ms <= 5_000
      ? new Promise((resolve) => setImmediate(resolve))
      : new Promise((_, reject) => {
          signal?.addEventListener('abort', () => reject(signal.reason), { once: true })
        }),
}

let server: Server | undefined
afterEach(() => {
  server?.closeAllConnections()
  server?.close()
  server = undefined
})

type Play = (request: IncomingMessage, response: ServerResponse) => unknown

async function served(play: Play): Promise<string> {
  server = createServer(play)
  await new Promise<void>((resolve) => server!.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

function watch(provider: SpotProvider | 'auto', baseUrl: string, signal?: AbortSignal) {
  const never = new AbortController().signal
  return watchSpotNotice({ clock, fetch, provider, baseUrl, signal: signal ?? never })
}

/** AWS's service, version 2: it needs a token. The notice comes after `quiet` questions for the action. */
function aws(quiet: number, rebalances = false): Play {
  let looks = 0
  return ({ method, url, headers }, response) => {
    if (url === '/latest/api/token') {
      const seconds = headers['x-aws-ec2-metadata-token-ttl-seconds']
      return response.writeHead(method === 'PUT' && Number(seconds) > 0 ? 200 : 400).end('secret')
    }
    if (headers['x-aws-ec2-metadata-token'] !== 'secret') return response.writeHead(401).end()
    const due = url === '/latest/meta-data/spot/instance-action' && ++looks > quiet
    if (due) return response.end('{"action":"terminate","time":"2026-11-24T08:22:00Z"}')
    if (rebalances && url === '/latest/meta-data/events/recommendations/rebalance') {
      return response.end('{"noticeTime":"2026-11-24T08:00:00Z"}')
    }
    return response.writeHead(404).end()
  }
}

/** Google's service: it delays an answer until the value changes from the one with the given ETag. */
function gcp(): Play {
  let preempted = false
  return ({ url, headers }, response) => {
    const { pathname, searchParams } = new URL(url!, 'http://metadata')
    if (headers['metadata-flavor'] !== 'Google') return response.writeHead(403).end()
    if (pathname !== '/computeMetadata/v1/instance/preempted') return response.writeHead(404).end()
    if (searchParams.get('wait_for_change') === 'true') {
      preempted = searchParams.get('last_etag') === 'first'
    }
    const etag = preempted ? 'second' : 'first'
    response.writeHead(200, { 'Metadata-Flavor': 'Google', ETag: etag })
    return response.end(preempted ? 'TRUE' : 'FALSE')
  }
}

/** Azure's service: an event of another machine, then a reboot of this machine, then the end of this machine. */
function azure(): Play {
  const event = (EventType: string, name: string) => ({
    EventId: '1',
    EventType,
    ResourceType: 'VirtualMachine',
    Resources: [name],
    EventStatus: 'Scheduled',
    NotBefore: 'Tue, 24 Nov 2026 08:22:00 GMT',
  })
  const documents = [
    [],
    [event('Preempt', 'vm_2')],
    [event('Preempt', 'vm_2'), event('Reboot', 'vm_1')],
    [event('Preempt', 'vm_1')],
  ]
  return ({ url, headers }, response) => {
    if (headers.metadata !== 'true') return response.writeHead(400).end()
    const { pathname } = new URL(url!, 'http://metadata')
    if (pathname === '/metadata/instance/compute/name') return response.end('vm_1')
    if (pathname !== '/metadata/scheduledevents') return response.writeHead(404).end()
    const Events = documents.shift() ?? []
    return response.end(JSON.stringify({ DocumentIncarnation: 4 - documents.length, Events }))
  }
}

test('AWS gives two minutes of notice, with the time of the end', async () => {
  expect(await watch('aws', await served(aws(3)))).toEqual({
    provider: 'aws',
    kind: 'reclaim',
    noticeMs: 120_000,
    detail: 'AWS: terminate at 2026-11-24T08:22:00Z',
  })
})

test('AWS recommends to rebalance before its notice', async () => {
  expect(await watch('aws', await served(aws(3, true)))).toMatchObject({
    kind: 'rebalance',
    noticeMs: null,
  })
})

test('the watch of Google waits for a change of the last value', async () => {
  expect(await watch('gcp', await served(gcp()))).toMatchObject({
    provider: 'gcp',
    kind: 'reclaim',
    noticeMs: 30_000,
  })
})

test('the end of another machine and a reboot are not a notice of Azure for this machine', async () => {
  const url = await served(azure())
  expect(await watch('azure', url)).toMatchObject({
    provider: 'azure',
    kind: 'reclaim',
    detail: 'Azure: Preempt not before Tue, 24 Nov 2026 08:22:00 GMT',
  })
})

test.each([
  ['aws', () => aws(0)],
  ['gcp', gcp],
  ['azure', azure],
] as const)('auto finds the service of %s', async (provider, play) => {
  expect(await watch('auto', await served(play()))).toMatchObject({ provider })
})

test('a service is asked again after a failed question', async () => {
  const play = aws(2)
  let asked = 0
  const url = await served((request, response) => {
    asked++
    if (asked % 3 === 0) request.socket.destroy()
    else play(request, response)
  })
  expect(await watch('aws', url)).toMatchObject({ kind: 'reclaim' })
})

test('a missing service, and the service of another cloud, are errors with a remedy', async () => {
  const url = await served(gcp())
  await expect(watch('aws', url)).rejects.toThrow(
    /--spot aws: .*the service that answers is not aws's.*--spot off/,
  )
  const nowhere = await served(gcp())
  server!.close()
  await expect(watch('auto', nowhere)).rejects.toThrow(/ECONNREFUSED.*Use --spot off/)
})

test('the watch ends when its signal aborts', async () => {
  const stop = new AbortController()
  const play = aws(Number.POSITIVE_INFINITY)
  let looks = 0
  const url = await served((request, response) => {
    if (++looks === 6) stop.abort(new Error('enough'))
    play(request, response)
  })
  await expect(watch('aws', url, stop.signal)).rejects.toThrow('enough')
})
