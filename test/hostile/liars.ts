/**
 * A peer with the manifest lies to a swarm: as a guest, as a member, and with frames in which bytes were changed. The swarm's
 * losses must be those of an undisturbed run, its members must stay, and its journals short.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { FieldSwarm } from '../field/swarm.ts'
import { PROCEDURES } from '../fixtures/forger.ts'
import { type LiarRole, type Lies, lie } from './liar.ts'

const PEERS = 5
/** Relative difference of two losses: replicas may add gradients in another order. */
const TOLERANCE = 1e-3
/** Bytes by which the memory of a peer may grow between the two halves of the lies. One that kept bodies would keep more. */
const GROWTH_BYTES = 128 << 20
/** Entries that no lie may cause at an honest peer. */
const HARM: ReadonlySet<string> = new Set(['incarnated', 'superseded', 'dropped', 'rollback'])

export interface LiarOptions {
  /** For how long each role lies. */
  readonly seconds: number
  /** Frames in which bytes were changed. */
  readonly frames: number
}

interface Played {
  readonly losses: ReadonlyMap<number, number>
  readonly faults: readonly string[]
}

/** @param steps of a swarm to which nobody lies */
async function play(
  folder: string,
  role: LiarRole | null,
  { seconds, frames }: LiarOptions,
  steps = 0,
): Promise<Played> {
  const swarm = await FieldSwarm.create(folder, { fixed: { spares: 4 } })
  const faults: string[] = []
  try {
    const peers = await swarm.start(PEERS)
    const losses = () => {
      const made = swarm.entries.filter((entry) => entry.type === 'step')
      return new Map(made.map(({ step, loss }) => [step, loss]))
    }
    if (role === null) {
      await swarm.until(`${steps} steps`, 10 * seconds + 600, () => swarm.step >= steps)
      return { losses: losses(), faults }
    }
    const since = swarm.entries.length
    const stepsBefore = swarm.step
    const addresses = peers.map((peer) => peer.addresses[0]!)
    const much = role === 'frames' ? frames : seconds
    const args = [role, join(folder, 'run.json'), String(much / 2), ...addresses]
    const all: Lies[] = []
    const memory: number[] = []
    for (let half = 0; half < 2; half++) {
      all.push(await lie(args))
      memory.push(Math.max(...peers.map(({ pid }) => residentBytes(pid))))
    }
    const sent = all.reduce((sum, each) => sum + each.sent, 0)
    await swarm.trains({ among: peers, seconds: 120 })
    const told = swarm.entries.slice(since)
    const own = new Set(peers.map(({ id }) => id))
    const harm = told.filter(({ type, peer }) => HARM.has(type) && own.has(peer))
    for (const entry of harm.slice(0, 5)) faults.push(JSON.stringify(entry))
    const protocols = Math.max(...all.map((each) => each.protocols))
    if (protocols !== PROCEDURES.length) faults.push(`only ${protocols} protocols were asked`)
    const growth = memory[1]! - memory[0]!
    if (growth > GROWTH_BYTES) faults.push(`memory grew by ${growth >> 20} MiB in the second half`)
    const refusals = told.filter(({ type }) => type === 'refused').length
    const cutOff = told.filter(
      (entry) => entry.type === 'notice' && entry.message.includes('is cut off'),
    ).length
    console.log(
      `${role}: ${sent} sent on ${protocols} protocols by ${all.reduce((n, { identities }) => n + identities, 0)} identities; ${swarm.step - stepsBefore} steps; ${refusals} refusals in ${PEERS} journals, ${cutOff} identities cut off; memory ${(growth / 2 ** 20).toFixed(1)} MiB in the second half`,
    )
    return { losses: losses(), faults }
  } finally {
    await swarm.close()
  }
}

function residentBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)![1]) * 1024
}

/** @returns what went wrong */
export async function lies(folder: string, options: LiarOptions): Promise<string[]> {
  const faults: string[] = []
  const played = new Map<LiarRole, Played>()
  for (const role of ['guest', 'member', 'frames'] as const) {
    const done = await play(join(folder, role), role, options)
    played.set(role, done)
    faults.push(...done.faults.map((fault) => `${role}: ${fault}`))
  }
  const steps = Math.max(...[...played.values()].map(({ losses }) => Math.max(...losses.keys())))
  const undisturbed = await play(join(folder, 'undisturbed'), null, options, steps)
  for (const [role, { losses }] of played) {
    let compared = 0
    let most = 0
    for (const [step, loss] of losses) {
      const expected = undisturbed.losses.get(step)
      if (expected === undefined) continue
      compared++
      most = Math.max(most, Math.abs(loss - expected) / expected)
    }
    console.log(
      `${role}: the losses of ${compared} steps differ by ${most.toExponential(1)} at most`,
    )
    if (compared < 10) faults.push(`${role}: only ${compared} steps could be compared`)
    if (most > TOLERANCE) faults.push(`${role}: losses differ by ${most} from an undisturbed run`)
  }
  return faults
}
