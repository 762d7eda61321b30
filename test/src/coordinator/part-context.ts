/** What a part of the coordinator is made with, in a run of which only the roster is real. */

import { ProtocolError } from '../../../protocols/errors.ts'
import { heartbeat, type Roster } from '../../../protocols/membership.ts'
import type { Json, Network } from '../../../protocols/network.ts'
import type { Entry } from '../../../src/base/journal.ts'
import { createJournal } from '../../../src/base/journal.ts'
import { ChangeSignal } from '../../../src/coordinator/change-signal.ts'
import { Acceptor } from '../../../src/membership/acceptor.ts'
import { foundingRoster } from '../../../src/membership/roster.ts'

/** A question that waits for its answer. */
interface Call {
  readonly peer: string
  answer(header: Json): void
  fail(error: Error): void
}

/** @param stages what `peer-0`, the coordinator, and the other members hold */
export function createPartContext(stages: readonly (number | null)[]) {
  const founder = { peer: 'peer-0', session: 1, addresses: [], domain: '', host: '' }
  const members = stages.map((stage, id) => ({
    ...founder,
    peer: `peer-${id}`,
    id,
    stage,
    ready: true,
  }))
  const acceptor = new Acceptor({ ...foundingRoster(founder), nextId: members.length, members })
  const dead = new Set<string>()
  /** Peers whose connection is dead though neither side was told. */
  const silent = new Set<string>()
  const calls: Call[] = []
  const entries: Entry[] = []
  const minorities: { ms: number; members: number; answering: number }[] = []
  let now = 0
  const signOfLife = async (peer: string) => {
    if (dead.has(peer)) throw new ProtocolError('UNREACHABLE', `cannot reach ${peer}`)
    if (silent.has(peer)) throw new ProtocolError('TIMEOUT', `${peer} is silent`)
    return { header: { epoch: 0, session: 1, queuedWork: 0, workingMs: 0 } }
  }
  const network = {
    hostOf: () => '',
    self: 'peer-0',
    learn: () => {},
    disconnect: (peer: string) => silent.delete(peer),
    onLost: () => () => {},
    call: (peer: string, protocol: string, _: unknown, { signal }: { signal: AbortSignal }) => {
      if (protocol === heartbeat.protocol) return signOfLife(peer)
      return new Promise<{ header: Json }>((resolve, reject) => {
        if (signal.aborted) reject(signal.reason)
        signal.addEventListener('abort', () => reject(signal.reason))
        calls.push({ peer, answer: (header) => resolve({ header }), fail: reject })
      })
    },
  } as unknown as Network
  const over = new AbortController()
  const agreement = {
    network,
    // Time stands still but for `pass`: what sleeps longer than no time sleeps for ever.
    clock: { now: () => now, sleep: (_: number) => new Promise<void>(() => {}) },
    runId: 'run',
    journal: createJournal('peer-0', () => now, [(entry) => entries.push(entry)]),
    acceptor,
    signal: over.signal,
    minority: async (ms: number, roster: Roster, answering: ReadonlySet<number>) => {
      minorities.push({ ms, members: roster.members.length, answering: answering.size })
    },
  }
  return {
    agreement,
    changed: new ChangeSignal(),
    members,
    dead,
    silent,
    calls,
    entries,
    minorities,
    pass: (ms: number) => {
      now += ms
    },
  }
}
