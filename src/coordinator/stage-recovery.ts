/** How empty stages come to a holder again: a spare takes one by the policy's strategy, or the whole swarm goes back. */
import type { Assignment } from '../../protocols/agreement.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Roster } from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'
import type { Procedure } from '../../protocols/procedure.ts'
import { hold } from '../../protocols/step.ts'
import { HOLD_ATTEMPTS, TIMEOUTS } from '../base/limits.ts'
import type { CheckpointCoordinator } from '../checkpoint/checkpoint-coordinator.ts'
import { inventory } from '../copies/inventory.ts'
import type { AgreementOptions } from '../membership/agreement.ts'
import { emptyStages, isFresh, isRestored } from '../membership/roster.ts'
import type { KeptCopy } from '../recovery/strategy.ts'
import type { Run } from '../run/run.ts'
import { type Match, type Plan, planFor } from './placement.ts'

export interface StageRecoveryOptions extends AgreementOptions {
  readonly run: Run
  readonly saves: CheckpointCoordinator
  /** Asks a member; given up when a holder is lost. */
  ask<Question, Answer>(
    peer: PeerId,
    what: Procedure<Question, Answer>,
    question: Question,
    timeoutMs: number,
  ): Promise<Answer>
  /** This member is no good. */
  lose(peer: PeerId, reason: string): void
  /** Has everyone go back to the checkpoint of this step. */
  goBack(step: number): Promise<void>
}

export class StageRecovery {
  readonly #options: StageRecoveryOptions
  /** Stages whose last holder was lost, with when. */
  readonly #lostAt = new Map<number, number>()
  /** The loss before the swarm went back to a checkpoint. */
  #lossBefore: number | null = null
  /** A member found the checkpoint that the swarm went back to damaged. */
  #damaged = false
  /** How often a member did not take a stage that it was asked to take. */
  readonly #failures = new Map<number, number>()

  constructor(options: StageRecoveryOptions) {
    this.#options = options
    // Of a stage that went with the coordinator before, this one learns now.
    if (isFresh(this.#roster)) return
    for (const stage of emptyStages(this.#roster, options.run.stages)) this.emptied(stage)
  }

  get #roster(): Roster {
    return this.#options.acceptor.roster
  }

  /** The stage's last holder was lost. */
  emptied(stage: number): void {
    this.#lostAt.set(stage, this.#options.clock.now())
  }

  /** It was not, after all. */
  returned(stage: number): void {
    this.#lostAt.delete(stage)
  }

  /** The member is out of the roster. */
  forget(id: number): void {
    this.#failures.delete(id)
  }

  /** A member did not begin to learn a stage, or did not come to its end. One that fails too often is lost. */
  failed(id: number, peer: PeerId, reason: string): void {
    if (this.#failsTooOften(id)) this.#options.lose(peer, reason)
  }

  #failsTooOften(id: number): boolean {
    const failures = (this.#failures.get(id) ?? 0) + 1
    this.#failures.set(id, failures)
    return failures >= HOLD_ATTEMPTS
  }

  /**
   * Has members take the stages that they are matched with, or the swarm go back to a checkpoint first.
   * @returns who has taken a stage, for the next roster
   */
  async fill(matches: readonly Match[]): Promise<Assignment[]> {
    const { clock, signal, run } = this.#options
    const copies = await inventory(this.#options, run, this.#roster)
    if (await this.#rollBack(matches, copies)) return []
    const held = await Promise.all(matches.map((match) => this.#give(match, copies)))
    const assign = matches
      .filter((_, i) => held[i])
      .map(({ stage, member }) => ({ id: member.id, stage, ready: true }))
    // A donor or a link that failed once may do better in a moment; who fails too often is lost.
    if (assign.length === 0) await clock.sleep(TIMEOUTS.retryMs, signal)
    return assign
  }

  /** @throws ProtocolError REFUSED if no strategy could bring one of these stages back, whoever comes */
  async check(stages: readonly number[]): Promise<void> {
    const copies = await inventory(this.#options, this.#options.run, this.#roster)
    for (const stage of stages) this.#planFor(stage, copies)
  }

  /**
   * If one of these stages is to come back from a checkpoint, the whole swarm goes back to the last one. False if they can
   * be filled as things are. @throws ProtocolError REFUSED if the swarm has given up all it had, and no checkpoint is whole
   */
  async #rollBack(matches: readonly Match[], copies: readonly KeptCopy[]): Promise<boolean> {
    const { journal, clock, run, saves, goBack } = this.#options
    const roster = this.#roster
    const restored = isRestored(roster)
    if (restored && !this.#damaged) return false
    const needed = matches.some(
      ({ stage }) => this.#planFor(stage, copies).strategy === 'checkpoint',
    )
    if (!needed) return false
    const begun = clock.now()
    const step = await saves.latest(roster.committed)
    this.#damaged = false
    // Another row of the policy is tried.
    if (step === null && !restored) return true
    if (step === null) throw new ProtocolError('REFUSED', saves.noCheckpoint!)
    // Sound after all: whoever found it damaged may do better.
    if (restored && step === roster.committed) return false
    const { committed: from, loss } = roster
    const stages = emptyStages(roster, run.stages)
    for (const stage of stages) this.#lostAt.set(stage, this.#lostAt.get(stage) ?? begun)
    this.#lossBefore = loss ?? this.#lossBefore
    const lossBefore = this.#lossBefore
    const seconds = (clock.now() - begun) / 1000
    await goBack(step)
    journal.write({ type: 'rollback', step, from, stages, lossBefore, seconds })
    return true
  }

  #planFor(stage: number, copies: readonly KeptCopy[]): Plan {
    const { run, saves } = this.#options
    return planFor(run, this.#roster, stage, { copies, noCheckpoint: saves.noCheckpoint })
  }

  /** Has one spare build one stage. True if it now holds it. */
  async #give({ stage, member }: Match, copies: readonly KeptCopy[]): Promise<boolean> {
    const { clock, journal, runId, network, signal, ask, lose } = this.#options
    const { peer, id } = member
    const { committed, loss, epoch } = this.#roster
    const plan = this.#planFor(stage, copies)
    const { strategy, donors } = plan
    const lostAt = this.#lostAt.get(stage)
    try {
      const question = { run: runId, epoch, step: committed, stage, strategy, donors }
      const answer = await ask(peer, hold, question, TIMEOUTS.holdMs)
      const lost = lostAt !== undefined || !isFresh(this.#roster)
      const cause = isRestored(this.#roster) && lostAt === undefined ? 'rollback' : 'lost'
      journal.write({
        type: 'held',
        stage,
        by: peer,
        cause: lost ? cause : 'empty',
        ...plan,
        ...answer,
        secondsSinceLoss: lostAt === undefined ? null : (clock.now() - lostAt) / 1000,
        lossBefore: loss ?? this.#lossBefore,
      })
      this.#lostAt.delete(stage)
      return true
    } catch (error) {
      signal.throwIfAborted()
      const code = error instanceof ProtocolError ? error.code : 'INTERNAL'
      const reason = `${peer} did not take stage ${stage}: ${(error as Error).message}`
      journal.write({ type: 'notice', message: reason })
      if (code === 'CORRUPT' && strategy === 'checkpoint') this.#damaged = true
      // Somebody else was lost meanwhile, and with it this attempt: nobody's fault here.
      if (code === 'PEER_LOST' || code === 'STALE') return false
      const tooOften = this.#failsTooOften(id)
      // Its own fault, or one too many: it would be asked again for ever.
      if (code === 'INTERNAL' || code === 'REFUSED' || tooOften) {
        if (peer === network.self) throw error
        lose(peer, reason)
      }
      return false
    }
  }
}
