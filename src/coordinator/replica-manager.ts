/** The coordinator's list of members that are to be replicas: nothing waits for them, and the roster says how far they are. */
import { ASSIGNS_MAX, type Assignment } from '../../protocols/agreement.ts'
import type { Member, Roster } from '../../protocols/membership.ts'
import type { Network, PeerId } from '../../protocols/network.ts'
import { ask } from '../../protocols/procedure.ts'
import { type LearntQuestion, learn } from '../../protocols/step.ts'
import type { Journal } from '../base/journal.ts'
import { DONORS_MAX, TIMEOUTS } from '../base/limits.ts'
import { holdersOf } from '../membership/roster.ts'

export interface ReplicaManagerOptions {
  readonly network: Network
  readonly runId: string
  readonly journal: Journal
  readonly signal: AbortSignal
  roster(): Roster
  /** A member did not do it. */
  failed(id: number, peer: PeerId, reason: string): void
  /** There is something to be said in the next roster. */
  changed(): void
}

interface Learning {
  readonly stage: number
  readonly peer: PeerId
  /** `building` until the roster may name it (`built`), `learning` until it has caught up or failed (`over`). */
  phase: 'building' | 'built' | 'learning' | 'over'
  facts: LearntQuestion | null
}

export class ReplicaManager {
  readonly #options: ReplicaManagerOptions
  readonly #learning = new Map<number, Learning>()

  constructor(options: ReplicaManagerOptions) {
    this.#options = options
  }

  /** Who learns which stage, by id. */
  get stages(): ReadonlyMap<number, number> {
    return new Map([...this.#learning].map(([id, { stage }]) => [id, stage]))
  }

  forget(id: number): void {
    this.#learning.delete(id)
  }

  /** Has a spare build a stage that others hold. */
  async start(stage: number, { id, peer }: Member): Promise<void> {
    const { network, runId, signal, journal, failed, changed } = this.#options
    const learning: Learning = { stage, peer, phase: 'building', facts: null }
    this.#learning.set(id, learning)
    try {
      const options = { timeoutMs: TIMEOUTS.holdMs, signal }
      await ask(network, peer, learn, { run: runId, stage }, options)
      learning.phase = 'built'
    } catch (error) {
      if (signal.aborted) return
      const message = `${peer} did not begin to learn stage ${stage}: ${(error as Error).message}`
      journal.write({ type: 'notice', message })
      this.#learning.delete(id)
      failed(id, peer, message)
    }
    changed()
  }

  /** A member says that it has caught up, or cannot. */
  learnt(from: PeerId, facts: LearntQuestion): void {
    const learning = [...this.#learning.values()].find(({ peer }) => peer === from)
    if (learning?.stage !== facts.stage || learning.phase !== 'learning') return
    learning.phase = 'over'
    learning.facts = facts
    this.#options.changed()
  }

  /** What the next roster is to say: who has begun, who is ready, who has failed. */
  advance(): Assignment[] {
    const { roster } = this.#options
    const { members } = roster()
    const assign: Assignment[] = []
    for (const [id, learning] of [...this.#learning]) {
      if (assign.length < ASSIGNS_MAX) assign.push(...this.#step(id, learning))
    }
    // Those of an earlier coordinator begin anew.
    const orphans = members.filter(
      ({ id, stage, ready }) =>
        stage !== null &&
        !ready &&
        !this.#learning.has(id) &&
        !assign.some((each) => each.id === id),
    )
    const idle = orphans.map(({ id }) => ({ id, stage: null, ready: true }))
    return [...assign, ...idle].slice(0, ASSIGNS_MAX)
  }

  #step(id: number, learning: Learning): Assignment[] {
    const { journal, failed, roster } = this.#options
    const { stage, peer, phase, facts } = learning
    const held = holdersOf(roster(), stage).length > 0
    if (phase === 'built' && held) {
      learning.phase = 'learning'
      return [{ id, stage, ready: false }]
    }
    if (phase === 'over' && facts!.failure === null) {
      this.#learning.delete(id)
      this.#noteHeld(peer, facts!)
      return [{ id, stage, ready: true }]
    }
    if (phase === 'building' || (phase === 'learning' && held)) return []
    this.#learning.delete(id)
    const why = facts?.failure ?? 'nobody holds it any more'
    const message = `${peer} did not learn stage ${stage}: ${why}`
    journal.write({ type: 'notice', message })
    failed(id, peer, message)
    return [{ id, stage: null, ready: true }]
  }

  #noteHeld(by: PeerId, { stage, bytes, seconds, learningRateScale }: LearntQuestion): void {
    const { journal, roster } = this.#options
    const { loss, committed } = roster()
    const donors = holdersOf(roster(), stage)
      .slice(0, DONORS_MAX)
      .map(({ peer }) => ({ stage, peer, copy: null }))
    journal.write({
      type: 'held',
      stage,
      by,
      cause: 'replica',
      strategy: 'replica',
      donors,
      norms: [],
      skipped: [],
      bytes,
      seconds,
      secondsSinceLoss: null,
      learningRateScale,
      ofStep: committed,
      lossBefore: loss,
    })
  }
}
