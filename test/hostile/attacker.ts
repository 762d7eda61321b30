/** The processes beside a swarm: one attacks a peer as a stranger, and one only burns processor time. */
import { execFile } from 'node:child_process'
import { connect } from 'node:net'
import { fileURLToPath } from 'node:url'
import { systemClock } from '../../protocols/clock.ts'

/** What a process has done. */
export interface Effort {
  readonly connections: number
  /** Bytes that it received. */
  readonly bytes: number
  /** Processor time as a share of the time that has passed. */
  readonly busyShare: number
}

/** Runs this file as a process of its own. */
export function play(args: readonly string[]): Promise<Effort> {
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [fileURLToPath(import.meta.url), ...args], (error, stdout) => {
      if (error !== null) reject(error)
      else resolve(JSON.parse(stdout) as Effort)
    })
  })
}

/** Milliseconds between two bursts of connections. */
const PAUSE_MS = 10

async function attack(port: number, rate: number, seconds: number): Promise<Partial<Effort>> {
  let connections = 0
  let bytes = 0
  const until = systemClock.now() + 1000 * seconds
  const begun = systemClock.now()
  while (systemClock.now() < until) {
    const due = Math.floor(((systemClock.now() - begun) / 1000) * rate)
    for (; connections < due; connections++) {
      const socket = connect(port, '127.0.0.1', () => socket.write(QUESTION))
      socket.on('error', () => {})
      socket.on('data', ({ length }) => {
        bytes += length
      })
    }
    await systemClock.sleep(PAUSE_MS)
  }
  return { connections, bytes }
}

/** As many bytes as a knock has, and more. */
const QUESTION = Buffer.alloc(256, '\x13/multistream/1.0.0\n')

async function burn(share: number, seconds: number): Promise<void> {
  const until = systemClock.now() + 1000 * seconds
  while (systemClock.now() < until) {
    const pause = systemClock.now() + share * PAUSE_MS
    while (systemClock.now() < pause);
    await systemClock.sleep((1 - share) * PAUSE_MS)
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [what, ...rest] = process.argv.slice(2)
  const [a, b, c] = rest.map(Number) as [number, number, number]
  const begun = systemClock.now()
  const done = what === 'attack' ? await attack(a, b, c) : await burn(a, b)
  const { user, system } = process.cpuUsage()
  const busyShare = Math.min(1, (user + system) / 1000 / (systemClock.now() - begun))
  console.log(JSON.stringify({ connections: 0, bytes: 0, ...done, busyShare }))
  process.exit()
}
