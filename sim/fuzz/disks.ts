/** What is on the disks of the peers of a fuzzed swarm. It outlives their processes. */
import type { Clock } from '../../protocols/clock.ts'
import type { Claim } from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'
import { type KnownMembers, MembersInMemory } from '../../src/base/known-members.ts'
import { StageDisk } from '../../src/checkpoint/stage-disk.ts'
import type { Flaws } from '../faults.ts'
import { MemoryStore } from '../world/memory-store.ts'

/** What a process finds on its disk, in the terms of its node's options. */
interface OpenedDisk {
  readonly disk: StageDisk
  readonly knownMembers: KnownMembers
  readonly claim: Claim
}

export class Disks {
  readonly #stores = new Map<PeerId, MemoryStore>()
  readonly #members = new Map<PeerId, KnownMembers>()

  /** Opens the disk of a peer for a process that starts. */
  open(peer: PeerId, clock: Clock, flaws: Flaws): OpenedDisk {
    const store = this.#stores.get(peer) ?? new MemoryStore()
    this.#stores.set(peer, store)
    const earlier = this.#members.get(peer)?.list() ?? []
    const knownMembers = new MembersInMemory(peer, earlier)
    this.#members.set(peer, knownMembers)
    const disk = new StageDisk({
      store: {
        location: `the disk of ${peer}`,
        list: (prefix) => store.list(prefix),
        read: (name, offset, into) => store.read(name, offset, into),
        remove: (name) => store.remove(name),
        async write(name, content) {
          if (flaws.isDiskFull) throw new Error('ENOSPC: no space left on device')
          await store.write(name, content)
        },
      },
      pause: () => clock.sleep(0),
    })
    return { disk, knownMembers, claim: earlier.length > 0 ? 'never' : 'may' }
  }
}
