/**
 * Counts the bytes that the sockets of a node write. Loaded with `--import`. Each SIGUSR2 adds a line to a file: the bytes that
 * all sockets of the process have written so far. The bytes are counted at the kernel, with encryption and multiplexing.
 */
import { subscribe } from 'node:diagnostics_channel'
import { appendFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { isMainThread } from 'node:worker_threads'

/** Environment variable with the folder of the files. Each process has a file. */
export const COUNTS_FOLDER = 'GENSYN_BENCH_COUNTS'

const folder = process.env[COUNTS_FOLDER]
if (isMainThread && folder !== undefined) {
  const sockets = new Set<Socket>()
  let ended = 0
  const opened = (message: unknown) => {
    const { socket } = message as { socket: Socket }
    sockets.add(socket)
    socket.once('close', () => {
      sockets.delete(socket)
      ended += socket.bytesWritten
    })
  }
  subscribe('net.client.socket', opened)
  subscribe('net.server.socket', opened)
  process.on('SIGUSR2', () => {
    const open = [...sockets].reduce((sum, { bytesWritten }) => sum + bytesWritten, 0)
    appendFileSync(join(folder, String(process.pid)), `${ended + open}\n`)
  })
}
