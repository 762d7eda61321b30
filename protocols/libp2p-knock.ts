/**
 * The knock: the first bytes of a connection prove that the dialler knows the key of the run's network, before anything is
 * answered or computed. A handshake of Noise costs its receiver two products on a curve and a signature, and shows the
 * receiver's public key. Without the right knock a connection is closed, and not a byte is sent. The idea is that of
 * WireGuard's `mac1` (https://www.wireguard.com/papers/wireguard.pdf, section 5.4.4).
 *
 * A knock is a nonce and its MAC. Who sees one can send it again, and then meets the handshake, which fails.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Server, Socket } from 'node:net'
import { systemClock } from './clock.ts'

const NONCE_BYTES = 16
const MAC_BYTES = 32
const KNOCK_BYTES = NONCE_BYTES + MAC_BYTES

/** Deadline for the bytes of a knock, which fit into one packet. */
const KNOCK_MS = 10_000
/** Connections of one listener that have not knocked yet. More than that close the oldest. */
const UNPROVED_MAX = 512

/** The key of the knock, from the prologue of the run's handshakes. */
export function knockKey(prologue: Uint8Array): Buffer {
  return createHmac('sha256', prologue).update('gensyn-node knock 1').digest()
}

/** A new knock, 48 bytes. */
export function knock(key: Uint8Array): Buffer {
  const nonce = randomBytes(NONCE_BYTES)
  return Buffer.concat([nonce, macOf(key, nonce)])
}

function isRight(key: Uint8Array, bytes: Buffer): boolean {
  const mac = macOf(key, bytes.subarray(0, NONCE_BYTES))
  return timingSafeEqual(mac, bytes.subarray(NONCE_BYTES))
}

function macOf(key: Uint8Array, nonce: Uint8Array): Buffer {
  return createHmac('sha256', key).update(nonce).digest()
}

/**
 * Lets the server's listeners see only connections that have knocked. The bytes after the knock are theirs.
 * @param refused called for each connection that was closed for its knock
 */
export function guard(server: Server, key: Uint8Array, refused: () => void): void {
  const listeners = server.listeners('connection') as ((socket: Socket) => void)[]
  server.removeAllListeners('connection')
  const unproved = new Unproved()
  server.on('connection', (socket: Socket) => {
    const settle = () => {
      unproved.delete(socket)
      for (const [event, listener] of Object.entries(own)) socket.off(event, listener)
    }
    const refuse = () => {
      settle()
      // The stranger may reset the connection meanwhile.
      socket.on('error', () => {})
      socket.destroy()
      refused()
    }
    const readable = () => {
      const bytes: Buffer | null = socket.read(KNOCK_BYTES)
      if (bytes === null) return
      if (bytes.length < KNOCK_BYTES || !isRight(key, bytes)) return refuse()
      settle()
      for (const listener of listeners) listener.call(server, socket)
    }
    const own = { readable, error: refuse, end: refuse, close: refuse }
    for (const [event, listener] of Object.entries(own)) socket.on(event, listener)
    unproved.add(socket)
  })
  // A server closes when its last connection has ended, and a stranger's would stay open until its deadline.
  const close = server.close.bind(server)
  server.close = (done) => {
    unproved.end()
    return close(done)
  }
}

/** The connections that have not knocked yet. One timer serves all of them: strangers may open thousands a second. */
class Unproved {
  /** When each connection was opened, in milliseconds of the clock. The oldest comes first. */
  readonly #openedAt = new Map<Socket, number>()
  readonly #over = new AbortController()
  #isWatching = false

  add(socket: Socket): void {
    this.#openedAt.set(socket, systemClock.now())
    if (this.#openedAt.size > UNPROVED_MAX) this.#oldest!.socket.destroy()
    if (!this.#isWatching) void this.#watch()
  }

  delete(socket: Socket): void {
    this.#openedAt.delete(socket)
  }

  end(): void {
    this.#over.abort()
    for (const socket of this.#openedAt.keys()) socket.destroy()
  }

  get #oldest() {
    for (const [socket, openedAt] of this.#openedAt) return { socket, openedAt }
    return null
  }

  /** Closes each connection at its deadline, until none is left. */
  async #watch(): Promise<void> {
    this.#isWatching = true
    try {
      for (let oldest = this.#oldest; oldest !== null; oldest = this.#oldest) {
        const leftMs = oldest.openedAt + KNOCK_MS - systemClock.now()
        if (leftMs > 0) {
          await systemClock.sleep(leftMs, this.#over.signal)
          continue
        }
        this.#openedAt.delete(oldest.socket)
        oldest.socket.destroy()
      }
    } catch (error) {
      if (!this.#over.signal.aborted) throw error
    } finally {
      this.#isWatching = false
    }
  }
}
