/** What a stage slot needs of the world, for a peer that talks to no other. */
import type { Network } from '../../../protocols/network.ts'
import { createJournal, type Entry } from '../../../src/base/journal.ts'
import { tinyRun } from '../../fixtures/swarm.ts'

export function slotContext(entries: Entry[] = []) {
  return {
    run: tinyRun({ microbatches: 1 }),
    runId: 'r',
    network: { self: 'p0', onLost: () => () => {} } as unknown as Network,
    clock: { now: () => 0, sleep: async () => {} },
    journal: createJournal('p0', () => 0, [(entry) => entries.push(entry)]),
    signal: new AbortController().signal,
    loadData: () => Promise.reject(new Error('a body stage reads no tokens')),
  }
}
