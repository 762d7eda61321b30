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

/** Counts connections without the right knock. */
export interface Knocks {
  /** Called for each connection that was closed for its knock. */
  refused(): void
}

/** Lets the server's listeners see only connections that have knocked. The bytes after the knock are theirs. */
export function guard(server: Server, key: Uint8Array, { refused }: Knocks): void {
  const listeners = server.listeners('connection') as ((socket: Socket) => void)[]
  server.removeAllListeners('connection')
  /** The oldest comes first. */
  const unproved = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    const settled = new AbortController()
    const settle = () => {
      settled.abort()
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
    systemClock.sleep(KNOCK_MS, settled.signal).then(refuse, () => {})
    unproved.add(socket)
    for (const [event, listener] of Object.entries(own)) socket.on(event, listener)
    if (unproved.size > UNPROVED_MAX) unproved.values().next().value!.destroy()
  })
  // A server closes when its last connection has ended, and a stranger's would stay open until its deadline.
  const close = server.close.bind(server)
  server.close = (done) => {
    for (const socket of unproved) socket.destroy()
    return close(done)
  }
}
