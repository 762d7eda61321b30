/** Calls to a peer that is killed or stops reading, and calls that are over. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import type { Stream } from '@libp2p/interface'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Libp2pNetwork } from '../../protocols/libp2p.ts'
import { CALLS_PER_PEER_MAX } from '../../protocols/libp2p-calls.ts'
import { DEFAULT_WINDOW_BYTES, type Node } from '../../protocols/libp2p-node.ts'
import type { Message } from '../../protocols/network.ts'
import {
  CALL,
  echo,
  failsWith,
  forever,
  noise,
  PROTOCOL,
  takesBody,
} from '../conformance/network-fixture.ts'
import { createPeer, createRawPeer, frameBytes } from './libp2p-fixture.ts'

let peer: Libp2pNetwork
beforeEach(async () => {
  peer = await createPeer()
})
afterEach(() => peer.stop())

describe('a peer that is killed', () => {
  let child: ChildProcess
  let victim: string
  beforeEach(async () => {
    child = fork(new URL('silent-peer.ts', import.meta.url))
    const [address] = (await once(child, 'message')) as [string]
    victim = await peer.connect(address, CALL)
  })
  afterEach(() => child.kill('SIGKILL'))

  test('ends the calls to it, and is reported lost', async () => {
    const lost = Promise.withResolvers<string>()
    peer.onLost(lost.resolve)
    const ask = () => peer.call(victim, PROTOCOL, { header: null, body: noise(1000) }, CALL)
    const pending = [failsWith(ask(), 'PEER_LOST'), failsWith(ask(), 'PEER_LOST')]
    await once(child, 'message')
    const before = performance.now()
    child.kill('SIGKILL')
    await Promise.all(pending)
    expect(await lost.promise).toBe(victim)
    // The kernel reports the end at once, long before any deadline or heartbeat.
    expect(performance.now() - before).toBeLessThan(2_000)
    await failsWith(ask(), 'UNREACHABLE')
  })

  test('in the middle of a body ends that call, too', async () => {
    const ask = (body?: Uint8Array) => peer.call(victim, PROTOCOL, { header: null, body }, CALL)
    const pending = [failsWith(ask(), 'PEER_LOST'), failsWith(ask(noise(64_000_000)), 'PEER_LOST')]
    // The first question has arrived, so the second is under way.
    await once(child, 'message')
    child.kill('SIGKILL')
    await Promise.all(pending)
  })
})

describe('a peer that stops reading', () => {
  const body = noise(20_000_000)
  let raw: Node
  let reading: PromiseWithResolvers<void>
  beforeEach(async () => {
    raw = await createRawPeer()
    reading = Promise.withResolvers()
    await raw.handle(PROTOCOL, (stream) => {
      const read = () => {
        // In a microtask, since libp2p resumes a stream that is paused during the delivery of a message.
        queueMicrotask(() => stream.pause())
        reading.resolve()
      }
      stream.addEventListener('message', read, { once: true })
    })
    await peer.connect(raw.getMultiaddrs()[0]!.toString(), CALL)
  })
  afterEach(() => raw.stop())
  const ask = (message: Message, options = CALL) =>
    peer.call(raw.peerId.toString(), PROTOCOL, message, options)

  test('costs the caller little memory, and no more time than the deadline', async () => {
    const before = process.memoryUsage().arrayBuffers
    await failsWith(ask({ header: null, body }, { timeoutMs: 200 }), 'TIMEOUT')
    // Both ends are in this process. One window is in memory encrypted, as read, and decrypted, and may not be collected
    // yet. The whole body would be 20 MB each time.
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(8 * DEFAULT_WINDOW_BYTES)
  })

  test('loses the stream when a frame is abandoned half-sent; the next call gets a new stream', async () => {
    const leaving = new AbortController()
    const first = ask({ header: null, body }, { ...CALL, signal: leaving.signal })
    const behind = failsWith(ask({ header: null }), 'PEER_LOST')
    await reading.promise
    leaving.abort(new Error('leaving'))
    await expect(first).rejects.toThrow('leaving')
    await behind
    await raw.unhandle(PROTOCOL)
    await raw.handle(PROTOCOL, (stream) => {
      const answer = frameBytes({ kind: 'answer', id: 1 }, { header: 'on a new stream' })
      stream.addEventListener('message', () => stream.send(answer), { once: true })
    })
    expect((await ask({ header: null })).header).toBe('on a new stream')
  })
})

describe('a call that is over', () => {
  test('does not change the memory for its answer', async () => {
    const raw = await createRawPeer()
    const toRaw = Promise.withResolvers<Stream>()
    await raw.handle(PROTOCOL, (stream) => {
      stream.addEventListener('message', () => toRaw.resolve(stream), { once: true })
    })
    await peer.connect(raw.getMultiaddrs()[0]!.toString(), CALL)
    const ask = (signal?: AbortSignal) =>
      peer.call(
        raw.peerId.toString(),
        PROTOCOL,
        { header: null },
        { ...CALL, signal, accept: (_header, length) => take(length) },
      )
    const leaving = new AbortController()
    const memory = new Uint8Array(1000)
    const accepted = Promise.withResolvers<void>()
    const take = (length: number) => {
      // Received bytes are copied when this returns.
      setImmediate(accepted.resolve)
      return memory.subarray(0, length)
    }
    const first = ask(leaving.signal)
    const stream = await toRaw.promise
    const answer = frameBytes(
      { kind: 'answer', id: 1 },
      { header: null, body: new Uint8Array(1000).fill(1) },
    )
    stream.send(answer.subarray(0, -500))
    await accepted.promise
    leaving.abort(new Error('leaving'))
    await expect(first).rejects.toThrow('leaving')
    memory.fill(0)

    const second = ask()
    stream.send(answer.subarray(-500))
    stream.send(frameBytes({ kind: 'answer', id: 2 }, { header: 'second' }))
    expect((await second).header).toBe('second')
    expect(memory).toEqual(new Uint8Array(1000))
    await raw.stop()
  })

  test('does not disturb other calls on the same stream', async () => {
    const other = await createPeer()
    let asked = 0
    const both = Promise.withResolvers<void>()
    const gate = Promise.withResolvers<void>()
    other.handle(PROTOCOL, {
      ...takesBody,
      async handle(_from, { header }) {
        if (++asked === 2) both.resolve()
        await gate.promise
        return { header: header as string }
      },
    })
    await peer.connect(other.addresses[0]!, CALL)
    const leaving = new AbortController()
    const first = peer.call(
      other.self,
      PROTOCOL,
      { header: 1 },
      { ...CALL, signal: leaving.signal },
    )
    const second = peer.call(other.self, PROTOCOL, { header: 2 }, CALL)
    await both.promise
    leaving.abort(new Error('leaving'))
    await expect(first).rejects.toThrow('leaving')
    gate.resolve()
    expect((await second).header).toBe(2)
    await other.stop()
  })

  test('makes room for another call; calls over the limit fail with BUSY', async () => {
    const other = await createPeer()
    other.handle(PROTOCOL, { handle: () => forever })
    await peer.connect(other.addresses[0]!, CALL)
    const leaving = new AbortController()
    const calls = Array.from({ length: CALLS_PER_PEER_MAX }, () =>
      peer.call(other.self, PROTOCOL, { header: null }, { ...CALL, signal: leaving.signal }),
    )
    const ended = Promise.allSettled(calls)
    const error = await failsWith(peer.call(other.self, PROTOCOL, { header: null }, CALL), 'BUSY')
    expect(error.definite).toBe(true)
    leaving.abort(new Error('leaving'))
    await ended
    other.handle('/echo', echo)
    expect((await peer.call(other.self, '/echo', { header: 'room' }, CALL)).header).toBe('room')
    await other.stop()
  })
})
