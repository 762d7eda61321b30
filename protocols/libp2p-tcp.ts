/**
 * libp2p's TCP with fewer system calls. @libp2p/tcp writes each piece on its own: a Noise packet is its length, its
 * parts and its tag, so that a chunk of a tensor went out in fifteen calls, and waited for `drain` after each large one.
 * Here all pieces of a send go out in one call, and small sends of one turn of the event loop together: Yamux's window
 * update for what has just come, with the answer to it. The bytes are the same.
 */
import { Socket } from 'node:net'
import type { MultiaddrConnection, Transport, Upgrader } from '@libp2p/interface'
import { tcp } from '@libp2p/tcp'

/** With so much in hand a connection is flushed at once: a tensor's chunk waits for nothing. */
const FLUSH_BYTES = 16 * 1024

/**
 * Bytes that the kernel has not taken yet beyond which a connection's streams wait: more would stand in front of pings
 * and heartbeats. Not under Node's own limit for a socket (64 KiB), whose `drain` is what ends the wait.
 */
const UNSENT_MAX_BYTES = 128 * 1024

/** What @libp2p/tcp's connections are made of, by the names that version 11 gives it. */
interface TcpConnection {
  socket: Socket
  sendData(data: Iterable<Uint8Array>): { sentBytes: number; canSendMore: boolean }
}

type Components = Parameters<ReturnType<typeof tcp>>[0]

export function corkedTcp(): (components: Components) => Transport {
  const create = tcp()
  return (components) => {
    const transport = create(components)
    const dial = transport.dial.bind(transport)
    const createListener = transport.createListener.bind(transport)
    transport.dial = (address, options) =>
      dial(address, { ...options, upgrader: corking(options.upgrader) })
    transport.createListener = (options) =>
      createListener({ ...options, upgrader: corking(options.upgrader) })
    return transport
  }
}

/** The upgrader, which is given every new connection before anything is sent on it. */
function corking(upgrader: Upgrader): Upgrader {
  return new Proxy(upgrader, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      return (...args: unknown[]) => {
        if (name === 'upgradeInbound' || name === 'upgradeOutbound') {
          cork(args[0] as MultiaddrConnection)
        }
        return value.apply(target, args)
      }
    },
  })
}

function cork(connection: MultiaddrConnection): void {
  const own = connection as unknown as TcpConnection
  const { socket } = own
  // Another version may call it otherwise; then it writes as it always did.
  if (!(socket instanceof Socket) || typeof own.sendData !== 'function') return
  let corked = false
  let due = false
  const flush = () => {
    if (!corked) return
    corked = false
    socket.uncork()
  }
  const flushLater = () => {
    due = false
    flush()
  }
  own.sendData = (data) => {
    if (!corked) socket.cork()
    corked = true
    let sentBytes = 0
    for (const piece of data) {
      sentBytes += piece.byteLength
      socket.write(piece)
    }
    if (socket.writableLength >= FLUSH_BYTES) flush()
    else if (!due) {
      due = true
      setImmediate(flushLater)
    }
    return { sentBytes, canSendMore: socket.writableLength <= UNSENT_MAX_BYTES }
  }
}
