/** Loaded before a node (`--import`, with `--expose-gc`): prints what the process holds, every SOAK_INTERVAL_MS milliseconds. */
import { readdirSync } from 'node:fs'
import { PROBED } from './probed.ts'

const { SOAK_INTERVAL_MS: interval = '60000' } = process.env

setInterval(() => {
  globalThis.gc?.()
  const { heapUsed: heap, rss } = process.memoryUsage()
  const resources = process.getActiveResourcesInfo()
  const count = (name: string) => resources.filter((each) => each === name).length
  const probe = {
    heap,
    rss,
    descriptors: readdirSync('/proc/self/fd').length,
    timers: count('Timeout'),
    connections: count('TCPSocketWrap') + count('TCPWRAP'),
  }
  process.stderr.write(`${PROBED}${JSON.stringify(probe)}\n`)
}, Number(interval)).unref()
