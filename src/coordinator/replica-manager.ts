/** Members on their way to be replicas of stages that others hold. Training does not wait for them. */
import type { Assignment } from '../../protocols/agreement.ts'
import type { Member } from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'
import { ask } from '../../protocols/procedure.ts'
import { type LearntQuestion, learn } from '../../protocols/step.ts'
import { DONORS_MAX } from '../base/limits.ts'
import type { AgreementOptions } from '../membership/agreement.ts'
import { holdersOf } from '../membership/roster.ts'
import { holdMs } from '../run/budgets.ts'
import type { Run } from '../run/run.ts'
import type { ChangeSignal } from './change-signal.ts'
import type { Health } from './health.ts'
import type { ReplicaProgress } from './placement.ts'

export interface ReplicaManagerOptions extends AgreementOptions {
  readonly run: Run
  readonly health: Health
  readonly changed: ChangeSignal
}

interface Replica extends ReplicaProgress {
  readonly peer: PeerId
  phase: ReplicaProgress['phase']
  since?: number
  /** What the member said at the end; null before. */
  facts: LearntQuestion | null
}

export class ReplicaManager {
  readonly #options: ReplicaManagerOptions
  /** By member id. */
  readonly #replicas = new Map<number, Replica>()

  constructor(options: ReplicaManagerOptions) {
    this.#options = options
  }

  /** By member id. */
  get progress(): ReadonlyMap<number, ReplicaProgress> {
    return this.#replicas
  }

  forget(id: number): void {
    this.#replicas.delete(id)
  }

  /** No stage has holders any more: its new replicas have nothing to synchronize with. */
  clear(): void {
    this.#replicas.clear()
  }

  /** Has a spare build a stage that others hold, once it is known that the spare and its neighbours reach each other. */
  async start(stage: number, { id, peer }: Member, isFit: Promise<boolean>): Promise<void> {
    const { network, run, runId, signal, journal, changed } = this.#options
    const replica: Replica = { stage, peer, phase: 'building', facts: null }
    this.#replicas.set(id, replica)
    if (!(await isFit)) {
      if (this.#replicas.get(id) === replica) this.#replicas.delete(id)
      return changed.notify()
    }
    try {
      const options = { timeoutMs: holdMs(run, stage), signal }
      await ask(network, peer, learn, { run: runId, stage }, options)
      replica.phase = 'built'
    } catch (error) {
      // The member was given another stage meanwhile.
      if (signal.aborted || this.#replicas.get(id) !== replica) return
      const message = `${peer} did not build a replica of stage ${stage}: ${(error as Error).message}`
      journal.write({ type: 'notice', message })
      this.#replicas.delete(id)
      this.#failed(id, peer, message)
    }
    changed.notify()
  }

  /** The member says that it has the state of its stage, or cannot get it. */
  learnt(from: PeerId, facts: LearntQuestion): void {
    const replica = [...this.#replicas.values()].find(({ peer }) => peer === from)
    if (replica?.stage !== facts.stage || replica.phase !== 'synchronizing') return
    replica.phase = facts.failure === null ? 'ready' : 'failed'
    replica.facts = facts
    this.#options.changed.notify()
  }

  /** The next roster says this of members, among them of those that become replicas. */
  advance(assign: readonly Assignment[]): void {
    for (const { id, stage, ready } of assign) {
      const replica = this.#replicas.get(id)
      if (replica === undefined) continue
      if (!ready) {
        replica.phase = 'synchronizing'
        replica.since = this.#options.acceptor.roster.committed
        continue
      }
      this.#replicas.delete(id)
      if (stage === null) this.#giveUp(id, replica)
      else this.#journalHeld(replica.peer, replica.facts!)
    }
  }

  #giveUp(id: number, { peer, stage, facts }: Replica): void {
    const why = facts?.failure ?? 'no member holds the stage any more'
    const message = `${peer} did not become a replica of stage ${stage}: ${why}`
    this.#options.journal.write({ type: 'notice', message })
    // Without holders no member could become a replica.
    if (facts !== null) this.#failed(id, peer, message)
  }

  #failed(id: number, peer: PeerId, reason: string): void {
    const { health } = this.#options
    if (health.failsTooOften(id)) health.lose(peer, reason)
  }

  #journalHeld(by: PeerId, { stage, bytes, seconds, learningRateScale }: LearntQuestion): void {
    const { journal, acceptor } = this.#options
    const { loss, committed } = acceptor.roster
    const donors = holdersOf(acceptor.roster, stage)
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
