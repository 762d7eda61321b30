/** The same frames over a plain socket, as a lower bound for libp2p: one question and its answer. */
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { CHUNK_BYTES, encodeFrame, encodeHeader, type FrameHead } from '../protocols/frame.ts'
import { FrameDecoder } from '../protocols/frame-decoder.ts'
import type { Json } from '../protocols/network.ts'

/** Unsent bytes beyond which the sender waits, as in libp2p-stream.ts. */
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

  /** Sends a frame after all frames before. */
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

/** The answering side. Receives every body into a few preallocated buffers, as a node does. */
export function answerSocket(socket: Socket, accept: (length: number) => Uint8Array): void {
  const frames = new FrameSocket(socket, {
    accept,
    received: ({ id }) => void frames.send({ kind: 'answer', id }, null),
  })
}
