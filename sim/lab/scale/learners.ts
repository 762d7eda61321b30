/** Members on their way to be replicas: building, then fetching the state while the others go on (`src/coordinator/replica-manager.ts`). */
import { ASSIGNS_MAX, type Assignment } from '../../../protocols/agreement.ts'
import type { Member } from '../../../protocols/membership.ts'
import { DONORS_MAX, HOLD_ATTEMPTS } from '../../../src/base/limits.ts'
import { holdersOf } from '../../../src/membership/roster.ts'
import type { Swarm } from './swarm.ts'
import type { Upkeep } from './upkeep.ts'
import type { Peer } from './wires.ts'

interface Learning {
  readonly stage: number
  readonly peer: Peer
  phase: 'building' | 'built' | 'learning' | 'learnt' | 'failed'
}

export class Learners {
  readonly #swarm: Swarm
  readonly #upkeep: Upkeep
  readonly #learning = new Map<number, Learning>()
  readonly #failures = new Map<number, number>()
  /** There is something to be said in the next roster. */
  readonly #changed: () => void
  /** One fails too often. */
  readonly #given: (id: number) => void

  constructor(swarm: Swarm, upkeep: Upkeep, changed: () => void, given: (id: number) => void) {
    this.#swarm = swarm
    this.#upkeep = upkeep
    this.#changed = changed
    this.#given = given
  }

  /** Who learns which stage, by id. */
  get stages(): ReadonlyMap<number, number> {
    return new Map([...this.#learning].map(([id, { stage }]) => [id, stage]))
  }

  forget(id: number): void {
    this.#learning.delete(id)
    this.#failures.delete(id)
  }

  start(stage: number, { id }: Member): void {
    const { timeline, setting, wires, coordinator } = this.#swarm
    const peer = this.#swarm.peerOf(id)
    if (peer === undefined) return
    const learning: Learning = { stage, peer, phase: 'building' }
    this.#learning.set(id, learning)
    const ms = 2 * wires.latencyMs(coordinator, peer) + setting.costMs.build * peer.slowness
    timeline.schedule(ms, () => {
      if (!peer.alive || this.#learning.get(id) !== learning) return
      learning.phase = 'built'
      this.#changed()
    })
  }

  /** What the next roster is to say: who has begun, who is ready, who has failed. */
  advance(): Assignment[] {
    const { roster } = this.#swarm
    const assign: Assignment[] = []
    for (const [id, learning] of [...this.#learning]) {
      if (assign.length < ASSIGNS_MAX) assign.push(...this.#step(id, learning))
    }
    // Those of an earlier coordinator begin anew.
    const named = new Set(assign.map(({ id }) => id))
    const orphans = roster.members.filter(
      ({ id, stage, ready }) =>
        stage !== null && !ready && !this.#learning.has(id) && !named.has(id),
    )
    const idle = orphans.map(({ id }) => ({ id, stage: null, ready: true }))
    return [...assign, ...idle].slice(0, ASSIGNS_MAX)
  }

  /** The roster names them: they fetch the state. */
  fetch(assigned: readonly Assignment[]): void {
    const { wires, bytes, timeline, coordinator } = this.#swarm
    for (const { id, ready } of assigned) {
      const learning = this.#learning.get(id)
      if (ready || learning?.phase !== 'learning') continue
      const { stage, peer } = learning
      const donors = this.#swarm.livingHolders(stage).slice(0, DONORS_MAX)
      const size = this.#upkeep.stateBytes(stage)
      bytes.weights += size
      wires.fetch(donors, peer, size, (complete) => {
        timeline.schedule(wires.latencyMs(peer, coordinator), () => {
          if (this.#learning.get(id) !== learning) return
          learning.phase = complete ? 'learnt' : 'failed'
          this.#changed()
        })
      })
    }
  }

  #step(id: number, learning: Learning): Assignment[] {
    const { stage, phase } = learning
    const held = holdersOf(this.#swarm.roster, stage).length > 0
    if (phase === 'built' && held) {
      learning.phase = 'learning'
      return [{ id, stage, ready: false }]
    }
    if (phase === 'learnt') {
      this.#learning.delete(id)
      return [{ id, stage, ready: true }]
    }
    if (phase === 'building' || (phase === 'learning' && held)) return []
    this.#learning.delete(id)
    const failures = (this.#failures.get(id) ?? 0) + 1
    this.#failures.set(id, failures)
    if (failures >= HOLD_ATTEMPTS) this.#given(id)
    return [{ id, stage: null, ready: true }]
  }
}
