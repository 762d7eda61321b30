/** New replicas: they build, then fetch the state while others train (`src/coordinator/replica-manager.ts`). */
import type { Assignment } from '../../../protocols/agreement.ts'
import type { Member } from '../../../protocols/membership.ts'
import { DONORS_MAX, HOLD_ATTEMPTS } from '../../../src/base/limits.ts'
import type { ReplicaProgress } from '../../../src/coordinator/placement.ts'
import type { Swarm } from './swarm.ts'
import type { Upkeep } from './upkeep.ts'
import type { Peer } from './wires.ts'

interface Learning extends ReplicaProgress {
  readonly peer: Peer
  phase: ReplicaProgress['phase']
  since?: number
}

export class Learners {
  readonly #swarm: Swarm
  readonly #upkeep: Upkeep
  readonly #learning = new Map<number, Learning>()
  readonly #failures = new Map<number, number>()
  /** Called when the next roster has a change to name. */
  readonly #changed: () => void
  /** Called when a member has failed too often. */
  readonly #given: (id: number) => void

  constructor(swarm: Swarm, upkeep: Upkeep, changed: () => void, given: (id: number) => void) {
    this.#swarm = swarm
    this.#upkeep = upkeep
    this.#changed = changed
    this.#given = given
  }

  /** Progress of each new replica, by member id. */
  get progress(): ReadonlyMap<number, ReplicaProgress> {
    return this.#learning
  }

  forget(id: number): void {
    this.#learning.delete(id)
    this.#failures.delete(id)
  }

  start(stage: number, { id }: Member): void {
    const { timeline, setting, wires, coordinator } = this.#swarm
    const peer = this.#swarm.peerOf(id)!
    const learning: Learning = { stage, peer, phase: 'building' }
    this.#learning.set(id, learning)
    const ms = 2 * wires.latencyMs(coordinator, peer) + setting.costMs.build * peer.slowness
    timeline.schedule(ms, () => {
      if (!peer.alive || this.#learning.get(id) !== learning) return
      learning.phase = 'built'
      this.#changed()
    })
  }

  /** Applies the assignments of the next roster, among them those of new replicas. */
  advance(assign: readonly Assignment[]): void {
    for (const { id, stage, ready } of assign) {
      const learning = this.#learning.get(id)
      if (learning === undefined) continue
      if (!ready) {
        learning.phase = 'synchronizing'
        learning.since = this.#swarm.roster.committed
        continue
      }
      this.#learning.delete(id)
      if (stage === null) this.#fail(id)
    }
  }

  /** Starts the fetch of the state by the replicas that the roster names. */
  fetch(assigned: readonly Assignment[]): void {
    const { wires, bytes, timeline, coordinator } = this.#swarm
    for (const { id, ready } of assigned) {
      const learning = this.#learning.get(id)
      if (ready || learning?.phase !== 'synchronizing') continue
      const { stage, peer } = learning
      const donors = this.#swarm.livingHolders(stage).slice(0, DONORS_MAX)
      const size = this.#upkeep.stateBytes(stage)
      bytes.weights += size
      wires.fetch(donors, peer, size, (complete) => {
        timeline.schedule(wires.latencyMs(peer, coordinator), () => {
          if (this.#learning.get(id) !== learning) return
          learning.phase = complete ? 'ready' : 'failed'
          this.#changed()
        })
      })
    }
  }

  #fail(id: number): void {
    const failures = (this.#failures.get(id) ?? 0) + 1
    this.#failures.set(id, failures)
    if (failures >= HOLD_ATTEMPTS) this.#given(id)
  }
}
