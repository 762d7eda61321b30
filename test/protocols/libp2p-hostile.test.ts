/** Peers that break the protocol cost little, are counted, and do not disturb others. */
import type { Stream } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { type FrameHead, PREFIX_BYTES } from '../../protocols/frame.ts'
import { FrameDecoder } from '../../protocols/frame-decoder.ts'
import { createLibp2pNetwork, type Libp2pNetwork } from '../../protocols/libp2p.ts'
import { DEFAULT_WINDOW_BYTES, type Node } from '../../protocols/libp2p-node.ts'
import { REQUESTS_PER_PEER_MAX } from '../../protocols/libp2p-serve.ts'
import { type Handler, LIMITS, type Received } from '../../protocols/network.ts'
import {
  CALL,
  echo,
  failsWith,
  forever,
  noise,
  OTHER_PROTOCOL,
  PROTOCOL,
  TOPIC,
} from '../conformance/network-fixture.ts'
import {
  createPeer,
  createRawPeer,
  frameBytes,
  LOOPBACK,
  next,
  StillClock,
} from './libp2p-fixture.ts'

let peer: Libp2pNetwork
let raw: Node
beforeEach(async () => {
  ;[peer, raw] = await Promise.all([createPeer(), createRawPeer()])
})
afterEach(async () => {
  await Promise.all([peer.stop(), raw.stop()])
})

const dial = () => raw.dialProtocol(multiaddr(peer.addresses[0]!), PROTOCOL)

/** Collects the answers on a stream. */
function answersOn(stream: Stream, count: number): Promise<[FrameHead, Received][]> {
  const all = Promise.withResolvers<[FrameHead, Received][]>()
  const answers: [FrameHead, Received][] = []
  const decoder = new FrameDecoder({
    accept: (_head, _header, length) => new Uint8Array(length),
    received(head, message) {
      if (answers.push([head, message]) === count) all.resolve(answers)
    },
    refused: (_head, why) => all.reject(why),
  })
  stream.addEventListener('message', ({ data }) => decoder.push(data.subarray()))
  return all.promise
}

describe('a peer that asks', () => {
  test('with bytes that are not a frame loses its stream', async () => {
    peer.handle(PROTOCOL, echo)
    const stream = await dial()
    const closed = next(stream, 'close')
    stream.send(noise(100))
    await closed
    expect(peer.counts).toMatchObject({ garbage: 1 })
  })

  test('and leaves during a body never reaches the handler', async () => {
    const handle = vi.fn<Handler['handle']>(echo.handle)
    const accepted = Promise.withResolvers<void>()
    peer.handle(PROTOCOL, {
      accept(_from, _header, length) {
        accepted.resolve()
        return new Uint8Array(length)
      },
      handle,
    })
    const stream = await dial()
    const bytes = frameBytes({ kind: 'request', id: 1 }, { header: 0, body: noise(100_000) })
    stream.send(bytes.subarray(0, -1))
    await accepted.promise
    stream.abort(new Error('gone'))
    await vi.waitFor(() => expect(peer.counts).toMatchObject({ refused: 1 }))
    expect(handle).not.toHaveBeenCalled()
  })

  test('too often at once gets BUSY, and other peers do not', async () => {
    const started = vi.fn()
    peer.handle(PROTOCOL, {
      handle() {
        started()
        return forever
      },
    })
    peer.handle(OTHER_PROTOCOL, echo)
    const stream = await dial()
    const answers = answersOn(stream, 1)
    for (let id = 0; id <= REQUESTS_PER_PEER_MAX; id++) {
      stream.send(frameBytes({ kind: 'request', id }, { header: null }))
    }
    expect(await answers).toMatchObject([
      [{ kind: 'error', id: REQUESTS_PER_PEER_MAX }, { header: { code: 'BUSY' } }],
    ])
    expect(started).toHaveBeenCalledTimes(REQUESTS_PER_PEER_MAX)

    const another = await createPeer()
    const [address] = peer.addresses
    await another.connect(address!, CALL)
    const answer = await another.call(peer.self, OTHER_PROTOCOL, { header: 'other' }, CALL)
    expect(answer.header).toBe('other')
    await another.stop()
  })

  test('is served with its accepted body, whatever it has asked meanwhile', async () => {
    const accepted = Promise.withResolvers<void>()
    const full = Promise.withResolvers<void>()
    let running = 0
    peer.handle(PROTOCOL, {
      accept(_from, _header, length) {
        accepted.resolve()
        return new Uint8Array(length)
      },
      handle(_from, { body }) {
        if (body !== undefined) return Promise.resolve({ header: 'with a body' })
        if (++running === REQUESTS_PER_PEER_MAX) full.resolve()
        return forever
      },
    })
    const [stream, other] = [await dial(), await dial()]
    const answers = answersOn(stream, 1)
    const bytes = frameBytes({ kind: 'request', id: 1 }, { header: null, body: noise(100) })
    stream.send(bytes.subarray(0, -1))
    await accepted.promise
    for (let id = 0; id < REQUESTS_PER_PEER_MAX; id++) {
      other.send(frameBytes({ kind: 'request', id }, { header: null }))
    }
    await full.promise
    stream.send(bytes.subarray(-1))
    expect(await answers).toMatchObject([[{ kind: 'answer' }, { header: 'with a body' }]])
  })

  test('without end and reads no answers loses its stream', async () => {
    peer.handle(PROTOCOL, { handle: async () => ({ header: null, body: noise(4_000_000) }) })
    const stream = await dial()
    stream.pause()
    const closed = next(stream, 'close')
    for (let id = 0; id < 3 * REQUESTS_PER_PEER_MAX; id++) {
      stream.send(frameBytes({ kind: 'request', id }, { header: null }))
    }
    await closed
  })
})

test('a peer that reads no answer loses its stream after a while', async () => {
  const clock = new StillClock()
  const patient = await createLibp2pNetwork(LOOPBACK, { clock })
  patient.handle(PROTOCOL, {
    handle: async () => ({ header: null, body: noise(8 * DEFAULT_WINDOW_BYTES) }),
  })
  const stream = await raw.dialProtocol(multiaddr(patient.addresses[0]!), PROTOCOL)
  stream.pause()
  const closed = next(stream, 'close')
  stream.send(frameBytes({ kind: 'request', id: 1 }, { header: null }))
  const wait = await clock.nextSleep()
  expect(stream.status).toBe('open')
  wait.end()
  await closed
  await patient.stop()
})

test('a peer that sends half a frame, and then nothing, loses its stream after a while', async () => {
  const clock = new StillClock()
  const patient = await createLibp2pNetwork(LOOPBACK, { clock })
  patient.handle(PROTOCOL, echo)
  const stream = await raw.dialProtocol(multiaddr(patient.addresses[0]!), PROTOCOL)
  const closed = next(stream, 'close')
  const sleep = clock.nextSleep()
  const frame = frameBytes({ kind: 'request', id: 1 }, { header: 1, body: noise(100_000) })
  stream.send(frame.subarray(0, -1))
  const wait = await sleep
  expect(stream.status).toBe('open')
  // While bytes come, the wait begins anew.
  stream.send(frame.subarray(-1))
  stream.send(frame.subarray(0, 50))
  const again = clock.nextSleep()
  await answersOn(stream, 1)
  wait.end()
  ;(await again).end()
  await closed
  await patient.stop()
})

test('a peer that sends bytes which are no frame again and again is cut off', async () => {
  peer.handle(PROTOCOL, echo)
  const cutOff = next(raw, 'peer:disconnect')
  for (let i = 0; i < 30; i++) {
    const stream = await dial().catch(() => null)
    if (stream === null) break
    const closed = next(stream, 'close')
    stream.send(noise(PREFIX_BYTES))
    await closed
  }
  await cutOff
  await expect(dial()).rejects.toThrow()
})

test('an invalid announcement is ignored', async () => {
  const heard = vi.fn()
  peer.subscribe(TOPIC, heard)
  await raw.dial(multiaddr(peer.addresses[0]!))
  const announce = (text: string) => raw.services.pubsub.publish(TOPIC, Buffer.from(text))
  await vi.waitFor(async () => {
    await announce('{"step":')
    await announce(JSON.stringify('x'.repeat(LIMITS.announcement)))
    await announce('{"step":1}')
    expect(heard).toHaveBeenCalled()
  }, CALL.timeoutMs)
  for (const call of heard.mock.calls) expect(call).toEqual([raw.peerId.toString(), { step: 1 }])
})

describe('a peer that answers', () => {
  /** Makes the raw peer answer the first bytes on a stream. */
  const answering = (answer: (stream: Stream) => void) =>
    raw.handle(PROTOCOL, (stream) => {
      stream.addEventListener('message', () => answer(stream), { once: true })
    })
  const ask = async () => {
    await peer.connect(raw.getMultiaddrs()[0]!.toString(), CALL)
    const accept = (_header: unknown, length: number) => new Uint8Array(length)
    return peer.call(raw.peerId.toString(), PROTOCOL, { header: 0 }, { ...CALL, accept })
  }
  const answer = (header: string | object | null, body?: Uint8Array) =>
    frameBytes({ kind: 'answer', id: 1 }, { header: header as string, body })

  test('with bytes that are not a frame ends the call', async () => {
    await answering((stream) => stream.send(noise(PREFIX_BYTES)))
    await failsWith(ask(), 'CORRUPT')
    expect(peer.counts).toMatchObject({ garbage: 1 })
  })

  test('with half a frame ends the call when it leaves', async () => {
    await answering((stream) => {
      stream.send(answer('half', noise(100_000)).subarray(0, -1))
      void stream.close()
    })
    await failsWith(ask(), 'CORRUPT')
  })

  test('with nothing ends the call when it leaves', async () => {
    await answering((stream) => stream.abort(new Error('gone')))
    await failsWith(ask(), 'PEER_LOST')
  })

  test('twice, or without a question, is heard once', async () => {
    await answering((stream) => {
      stream.send(frameBytes({ kind: 'answer', id: 99 }, { header: 'to nobody', body: noise(9) }))
      stream.send(answer('first', noise(3)))
      stream.send(answer('second', noise(4)))
    })
    expect(await ask()).toEqual({ header: 'first', body: noise(3) })
  })

  test('with an unknown error is INTERNAL', async () => {
    const error = { code: 'toString', message: 'surprise' }
    await answering((stream) =>
      stream.send(frameBytes({ kind: 'error', id: 1 }, { header: error })),
    )
    await failsWith(ask(), 'INTERNAL')
  })
})
