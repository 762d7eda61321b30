/**
 * Loaded into a node with `--import`: at each SIGUSR2 adds a line to a file, the bytes that all sockets of the process
 * have written so far. Counted where they leave for the kernel, so that encryption and multiplexing are in.
 */
import { subscribe } from 'node:diagnostics_channel'
import { appendFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { isMainThread } from 'node:worker_threads'

/** Where the files lie, one a process. */
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
