/**
 * A stranger opens 1,000 connections a second to a coordinator, and gets nothing. In turns, another
 * process burns as much processor time and sends nothing. Steps a second must be the same within a tenth, the memory of the
 * coordinator flat, and its journal short.
 */
import { readFileSync } from 'node:fs'
import { FieldSwarm } from '../field/swarm.ts'
import { type Effort, play } from './attacker.ts'

export interface StrangerOptions {
  /** Length of one turn. */
  readonly seconds: number
  readonly turns: number
  /** Connections a second. */
  readonly rate: number
}

/** Least ratio of steps under attack to steps beside the burner. */
const LEAST = 0.9
/** Bytes by which the coordinator's memory may grow after the first turn. */
const GROWTH_BYTES = 32 << 20

/** @returns what went wrong */
export async function strangers(
  folder: string,
  { seconds, turns, rate }: StrangerOptions,
): Promise<string[]> {
  const swarm = await FieldSwarm.create(folder, {})
  const faults: string[] = []
  try {
    const [coordinator] = await swarm.start(4)
    await swarm.steps(20)
    const port = Number(/tcp\/(\d+)/.exec(coordinator!.addresses[0]!)![1])
    const memory = () => {
      const status = readFileSync(`/proc/${coordinator!.pid}/status`, 'utf8')
      return Number(/VmRSS:\s+(\d+) kB/.exec(status)![1]) * 1024
    }
    const stepsOf = (entries: number) =>
      swarm.entries.slice(entries).filter(({ type }) => type === 'step').length
    const made = { attack: 0, burn: 0 }
    let opened = 0
    let before = 0
    const since = swarm.entries.length
    for (let turn = 1; turn <= turns; turn++) {
      const from = swarm.entries.length
      const attack: Effort = await play(['attack', String(port), String(rate), String(seconds)])
      made.attack += stepsOf(from)
      // The first turn fills what the process keeps for a thousand sockets at a time.
      if (turn === 1) before = memory()
      opened += attack.connections
      if (attack.bytes > 0) faults.push(`the stranger received ${attack.bytes} bytes`)
      const then = swarm.entries.length
      await play(['burn', String(attack.busyShare), String(seconds)])
      made.burn += stepsOf(then)
      console.log(
        `turn ${turn}: ${attack.connections} connections, ${attack.bytes} bytes received, ${(100 * attack.busyShare).toFixed(0)} % of a core`,
      )
    }
    const ratio = made.attack / made.burn
    if (ratio < LEAST) faults.push(`steps under attack are ${ratio.toFixed(2)} of those beside it`)
    const growth = memory() - before
    if (growth > GROWTH_BYTES) faults.push(`memory grew by ${Math.round(growth / 2 ** 20)} MiB`)
    const told = swarm.entries.slice(since)
    const notices = told.filter(
      (entry) => entry.type === 'notice' && entry.message.includes('without the key'),
    )
    const minutes = Math.ceil((2 * turns * seconds) / 60) + 1
    if (notices.length === 0) faults.push('nobody was told of the connections')
    if (notices.length > minutes) faults.push(`${notices.length} notices in ${minutes} minutes`)
    const refusals = told.filter(({ type }) => type === 'refused').length
    if (refusals > 0) faults.push(`${refusals} refusals in the journals`)
    if (opened < 0.8 * rate * seconds * turns) faults.push(`only ${opened} connections were opened`)
    console.log(
      `${opened} connections; steps ${made.attack} under attack, ${made.burn} beside the burner: ratio ${ratio.toFixed(3)}; memory ${growth >= 0 ? '+' : ''}${(growth / 2 ** 20).toFixed(1)} MiB; ${notices.length} notices`,
    )
  } finally {
    await swarm.close()
  }
  return faults
}
