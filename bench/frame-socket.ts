/** Our frames over a plain socket: as little as a question and its answer need, for comparison with libp2p. */
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { CHUNK_BYTES, encodeFrame, encodeHeader, type FrameHead } from '../protocols/frame.ts'
import { FrameDecoder } from '../protocols/frame-decoder.ts'
import type { Json } from '../protocols/network.ts'

/** As much as libp2p is given before its sender waits. */
const HIGH_WATER_BYTES = 4 * CHUNK_BYTES

interface FrameSocketInit {
  accept(length: number): Uint8Array
  received(head: FrameHead): void
}

export class FrameSocket {
  readonly #socket: Socket
  #sent: Promise<void> = Promise.resolve()

  constructor(socket: Socket, { accept, received }: FrameSocketInit) {
    this.#socket = socket
    const decoder = new FrameDecoder({
      accept: (_head, _header, length) => accept(length),
      received,
      refused: (_head, why) => socket.destroy(why as Error),
    })
    socket.setNoDelay(true)
    socket.on('data', (bytes) => decoder.push(bytes))
  }

  /** One frame after another. */
  send(head: FrameHead, header: Json, body?: Uint8Array): Promise<void> {
    this.#sent = this.#sent.then(() =>
      this.#write(encodeFrame(head, encodeHeader({ header }), body)),
    )
    return this.#sent
  }

  async #write(chunks: Iterable<Uint8Array>): Promise<void> {
    for (const chunk of chunks) {
      this.#socket.write(chunk)
      if (this.#socket.writableLength > HIGH_WATER_BYTES) await once(this.#socket, 'drain')
    }
  }
}

/** The calling side. */
export function socketCalls(socket: Socket): (header: Json, body?: Uint8Array) => Promise<void> {
  const pending = new Map<number, () => void>()
  let lastId = 0
  const frames = new FrameSocket(socket, {
    accept: (length) => new Uint8Array(length),
    received: ({ id }) => pending.get(id)?.(),
  })
  return async (header, body) => {
    const id = ++lastId
    const answer = Promise.withResolvers<void>()
    pending.set(id, answer.resolve)
    await frames.send({ kind: 'request', id }, header, body)
    await answer.promise
    pending.delete(id)
  }
}

/** The answering side: takes every body into the same few buffers, as a node with preallocated ones does. */
export function answerSocket(socket: Socket, accept: (length: number) => Uint8Array): void {
  const frames = new FrameSocket(socket, {
    accept,
    received: ({ id }) => void frames.send({ kind: 'answer', id }, null),
  })
}
