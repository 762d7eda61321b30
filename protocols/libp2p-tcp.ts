/**
 * libp2p's TCP with fewer system calls. @libp2p/tcp writes each piece by itself. A Noise packet consists of a length, parts
 * and a tag, so a chunk of a tensor takes fifteen calls, and waits for `drain` after each large piece. Here all pieces of a
 * send leave in one call. Small sends of one turn of the event loop leave together, such as a window update of Yamux and the
 * answer to the same message. The bytes stay the same.
 */
import { Server, Socket } from 'node:net'
import type { AbortOptions, MultiaddrConnection, Transport, Upgrader } from '@libp2p/interface'
import { tcp } from '@libp2p/tcp'
import { guard, knock, knockKey } from './libp2p-knock.ts'
import { SHUT_OUT } from './unreachable.ts'

/** Unsent bytes at which a connection is flushed at once, so that a chunk of a tensor does not wait. */
const FLUSH_BYTES = 16 * 1024

/**
 * Bytes that the kernel has not taken yet, beyond which the streams of a connection wait. More bytes would delay pings and
 * heartbeats. The limit must not be below Node's own for a socket (64 KiB), because the `drain` of that limit ends the wait.
 */
const UNSENT_MAX_BYTES = 128 * 1024

/** Members of a connection of @libp2p/tcp, by their names in version 11. */
interface TcpConnection {
  socket: Socket
  sendData(data: Iterable<Uint8Array>): { sentBytes: number; canSendMore: boolean }
}

type Components = Parameters<ReturnType<typeof tcp>>[0]

export interface CorkedTcpInit {
  /** Prologue of the run's handshakes. Each connection begins with a knock that proves it. Left out: no knock. */
  readonly prologue?: Uint8Array | undefined
  /** Called for each inbound connection that was closed for its knock. */
  readonly refused?: (() => void) | undefined
}

export function corkedTcp({
  prologue,
  refused = () => {},
}: CorkedTcpInit = {}): (components: Components) => Transport {
  const create = tcp()
  const key = prologue === undefined ? null : knockKey(prologue)
  return (components) => {
    const transport = create(components)
    const dial = transport.dial.bind(transport)
    const createListener = transport.createListener.bind(transport)
    transport.dial = (address, options) =>
      dial(address, { ...options, upgrader: corking(options.upgrader, key) })
    transport.createListener = (options) => {
      const listener = createListener({ ...options, upgrader: corking(options.upgrader, null) })
      if (key !== null) guard(serverOf(listener), key, refused)
      return listener
    }
    return transport
  }
}

/** The server of a listener of @libp2p/tcp, by its name in version 11. Without it strangers would be let in. */
function serverOf(listener: object): Server {
  const { server } = listener as { server?: unknown }
  if (server instanceof Server) return server
  throw new Error('this version of @libp2p/tcp has its server elsewhere')
}

/**
 * Wraps the upgrader, which receives every new connection before any byte is sent on the connection.
 * @param key of the knock with which an outbound connection begins; null for none
 */
function corking(upgrader: Upgrader, key: Uint8Array | null): Upgrader {
  return new Proxy(upgrader, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      return (...args: unknown[]) => {
        const isOutbound = name === 'upgradeOutbound'
        if (!isOutbound && name !== 'upgradeInbound') return value.apply(target, args)
        const [connection, options] = args as [MultiaddrConnection, AbortOptions | undefined]
        cork(connection)
        const { socket } = connection as unknown as TcpConnection
        if (isOutbound && key !== null) socket.write(knock(key))
        const upgraded: Promise<unknown> = value.apply(target, args)
        return isOutbound ? orShutOut(upgraded, socket, options?.signal) : upgraded
      }
    },
  })
}

/** Adds to an error that the peer closed the connection without a byte, as a peer of another network does. */
async function orShutOut(
  upgraded: Promise<unknown>,
  socket: Socket,
  signal: AbortSignal | undefined,
): Promise<unknown> {
  try {
    return await upgraded
  } catch (error) {
    if (socket.bytesRead > 0 || signal?.aborted) throw error
    throw new Error(SHUT_OUT, { cause: error })
  }
}

function cork(connection: MultiaddrConnection): void {
  const own = connection as unknown as TcpConnection
  const { socket } = own
  // Another version may use other names. The connection then writes as @libp2p/tcp does.
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
