/** How a stage that nobody holds gets a holder: a spare rebuilds it by the run's policy, or the whole run rolls back. */
import type { Assignment } from '../../protocols/agreement.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Roster } from '../../protocols/membership.ts'
import { type Donor, hold } from '../../protocols/step.ts'
import type { Skipped } from '../base/journal.ts'
import { DONORS_MAX, TIMEOUTS } from '../base/limits.ts'
import type { CheckpointCoordinator } from '../checkpoint/checkpoint-coordinator.ts'
import { inventory } from '../copies/inventory.ts'
import type { AgreementOptions } from '../membership/agreement.ts'
import { emptyStages, holdersOf, isFresh, isRestored } from '../membership/roster.ts'
import { choose, isOfOwnState, STRATEGIES, withDisks } from '../recovery/index.ts'
import type { KeptCopy, Loss, Origin } from '../recovery/strategy.ts'
import type { Run } from '../run/run.ts'
import type { Health } from './health.ts'
import type { Match } from './placement.ts'
import type { Round } from './round.ts'
import { RunFailure } from './run-failure.ts'
import { type Candidates, toOwners } from './stage-owners.ts'

export interface StageRecoveryOptions extends AgreementOptions {
  readonly run: Run
  readonly health: Health
  readonly checkpoints: CheckpointCoordinator
  /** True if members have states of stages on their disks. */
  readonly hasDisks: boolean
}

/** What the next change of the roster is. */
export type Recovered =
  /** These members hold a stage now, and these others are not to hold what they have built. Ids. */
  | {
      readonly type: 'held'
      readonly assign: readonly Assignment[]
      readonly unfit: readonly number[]
    }
  /** All members go back to the checkpoint of `step`. */
  | { readonly type: 'rollback'; readonly rollback: Rollback }

/** As the journal has it. */
export interface Rollback {
  readonly step: number
  readonly from: number
  readonly stages: readonly number[]
  readonly lossBefore: number | null
  readonly seconds: number
}

interface Vetting {
  /** Has spares and the neighbours of their stages try each other. @returns ids of the spares that are not fit */
  vet(matches: readonly Match[]): Promise<ReadonlySet<number>>
}

export class StageRecovery {
  readonly #options: StageRecoveryOptions
  /** The training loss before the last rollback. */
  #lossBefore: number | null = null
  /** True if a member found the checkpoint of the last rollback damaged. */
  #isDamaged = false

  constructor(options: StageRecoveryOptions) {
    this.#options = options
    // Stages that were lost together with the coordinator before count from now.
    if (isFresh(this.#roster)) return
    const { run, health } = options
    for (const stage of emptyStages(this.#roster, run.stages)) health.lost.emptied(stage)
  }

  get #roster(): Roster {
    return this.#options.acceptor.roster
  }

  /**
   * Has members rebuild the stages that they are matched with, unless the run must roll back first. Stages with a state of
   * their own come first, so that the others can be made from them afterwards.
   */
  async rebuild(
    asked: readonly Match[],
    candidates: Candidates & Vetting,
    round: Round,
  ): Promise<Recovered> {
    const { clock, signal } = this.#options
    const copies = await this.#inventory()
    const matches = this.#dueFirst(toOwners(asked, copies, candidates), copies)
    const rollback = await this.#findRollback(matches, copies)
    if (rollback === 'none found') return { type: 'held', assign: [], unfit: [] }
    if (rollback !== null) return { type: 'rollback', rollback }
    // The spares build meanwhile. One that its neighbours do not reach stays a spare, and all are matched anew.
    const vetted = candidates.vet(matches).then((unfit) => {
      if (unfit.size > 0) round.interrupt('a spare and its neighbours do not reach each other')
      return unfit
    })
    const held = await Promise.all(matches.map((match) => this.#rebuildOne(match, copies, round)))
    const unfit = await vetted
    const assign = matches
      .filter(({ member }, i) => held[i] && !unfit.has(member.id))
      .map(({ stage, member }) => ({ id: member.id, stage, ready: true }))
    // A donor or a link that failed once may work in a moment. A member that fails too often is lost.
    if (assign.length === 0) await clock.sleep(TIMEOUTS.retryMs, signal)
    return { type: 'held', assign, unfit: [...unfit] }
  }

  /** @throws RunFailure if no strategy could bring one of these stages back, whichever peer joins */
  async check(stages: readonly number[]): Promise<void> {
    const copies = await this.#inventory()
    for (const stage of stages) this.#planFor(stage, copies)
  }

  #inventory(): Promise<KeptCopy[]> {
    const { run, hasDisks } = this.#options
    return inventory(this.#options, run, this.#roster, hasDisks)
  }

  /** Matches whose stage has a state of its own, if only some have; otherwise all. */
  #dueFirst(matches: readonly Match[], copies: readonly KeptCopy[]): readonly Match[] {
    const plans = matches.map(({ stage }) => {
      try {
        return STRATEGIES.get(this.#planFor(stage, copies).strategy)!
      } catch {
        // The others are rebuilt first. Then this stage may have neighbours that it can be made from.
        return null
      }
    })
    if (plans.some((strategy) => strategy?.name === 'checkpoint')) return matches
    const first = matches.filter((_, i) => plans[i] !== null && isOfOwnState(plans[i]!))
    return first.length > 0 ? first : matches
  }

  /**
   * The last checkpoint, if one of these stages comes back from a checkpoint: all members go back to it. Null if the stages
   * can be rebuilt as things are. `none found` if another strategy of the policy must be tried.
   * @throws RunFailure if the run has rolled back already, and no checkpoint is whole
   */
  async #findRollback(
    matches: readonly Match[],
    copies: readonly KeptCopy[],
  ): Promise<Rollback | 'none found' | null> {
    const { clock, run, health, checkpoints } = this.#options
    const roster = this.#roster
    const { committed: from, loss } = roster
    const wasRolledBack = isRestored(roster)
    if (wasRolledBack && !this.#isDamaged) return null
    const isNeeded = matches.some(
      ({ stage }) => this.#planFor(stage, copies).strategy === 'checkpoint',
    )
    if (!isNeeded) return null
    const begun = clock.now()
    const step = await checkpoints.latest(from)
    this.#isDamaged = false
    if (step === null && !wasRolledBack) return 'none found'
    if (step === null) throw new RunFailure(checkpoints.noCheckpoint!)
    // The checkpoint is sound: the fault was with the member that found it damaged, which may read it the next time.
    if (wasRolledBack && step === from) return null
    const stages = emptyStages(roster, run.stages)
    for (const stage of stages) {
      if (health.lost.emptiedAt(stage) === undefined) health.lost.emptied(stage, begun)
    }
    this.#lossBefore = loss ?? this.#lossBefore
    const lossBefore = this.#lossBefore
    return { step, from, stages, lossBefore, seconds: (clock.now() - begun) / 1000 }
  }

  #planFor(stage: number, copies: readonly KeptCopy[]): Plan {
    const { run, checkpoints } = this.#options
    return planFor(run, this.#roster, stage, { copies, noCheckpoint: checkpoints.noCheckpoint })
  }

  /** Has one spare rebuild one stage. True if the spare holds it now. */
  async #rebuildOne(match: Match, copies: readonly KeptCopy[], round: Round): Promise<boolean> {
    const { clock, journal, runId, health } = this.#options
    const { stage, member } = match
    const { peer } = member
    const { committed, loss, epoch } = this.#roster
    const plan = this.#planFor(stage, copies)
    const { strategy, donors } = plan
    const emptiedAt = health.lost.emptiedAt(stage)
    try {
      const question = { run: runId, epoch, step: committed, stage, strategy, donors }
      const answer = await round.ask(peer, hold, question, TIMEOUTS.holdMs)
      const lost = emptiedAt !== undefined || !isFresh(this.#roster)
      const cause = isRestored(this.#roster) && emptiedAt === undefined ? 'rollback' : 'lost'
      journal.write({
        type: 'held',
        stage,
        by: peer,
        cause: lost ? cause : 'empty',
        ...plan,
        ...answer,
        secondsSinceLoss: emptiedAt === undefined ? null : (clock.now() - emptiedAt) / 1000,
        lossBefore: loss ?? this.#lossBefore,
      })
      health.lost.filled(stage)
      return true
    } catch (error) {
      this.#noteFailure(match, strategy, error as Error)
      return false
    }
  }

  /** @throws the failure, if this peer itself cannot take the stage */
  #noteFailure({ stage, member }: Match, strategy: string, error: Error): void {
    const { journal, network, signal, health } = this.#options
    const { peer, id } = member
    signal.throwIfAborted()
    const code = error instanceof ProtocolError ? error.code : 'INTERNAL'
    const reason = `${peer} did not take stage ${stage}: ${error.message}`
    journal.write({ type: 'notice', message: reason })
    if (code === 'CORRUPT' && strategy === 'checkpoint') this.#isDamaged = true
    // Another holder was lost meanwhile, which ended this attempt. The member has no fault.
    if (code === 'PEER_LOST' || code === 'STALE') return
    const isTooOften = health.failsTooOften(id)
    // With a fault of its own, or one failure too many, the member would be asked again for ever.
    if (code !== 'INTERNAL' && code !== 'REFUSED' && !isTooOften) return
    if (peer === network.self) throw error
    health.lose(peer, reason)
  }
}

export interface Plan {
  readonly strategy: string
  readonly donors: Donor[]
  readonly skipped: readonly Skipped[]
}

/**
 * How a stage that nobody holds gets its weights: by the first strategy of the run's policy that can work.
 * @param found what live members keep, and whether there is a checkpoint
 * @throws RunFailure if no strategy of the policy can work
 */
export function planFor(
  run: Run,
  roster: Roster,
  stage: number,
  found: Pick<Loss, 'copies' | 'noCheckpoint'>,
): Plan {
  const { committed } = roster
  const live = new Set(roster.members.flatMap(({ stage, ready }) => (ready ? (stage ?? []) : [])))
  const loss = { stage, bodyStages: run.stages, live, committed, ...found }
  const { chosen, skipped } = choose(policyFor(run, roster, loss), loss, run.recovery)
  if (chosen === null) {
    const reasons = skipped.map(({ strategy, reason }) => `${strategy}: ${reason}`)
    throw new RunFailure(
      `stage ${stage} is lost and no strategy of the policy can rebuild it (${reasons.join('; ')})`,
    )
  }
  const donors = chosen.donors.flatMap((origin) => donorsOf(roster, origin))
  return { strategy: chosen.strategy.name, donors, skipped }
}

function donorsOf(roster: Roster, { stage, copies, understudies }: Origin): Donor[] {
  if (copies !== undefined) return copies.map(({ peer, ...copy }) => ({ stage, peer, copy }))
  const peers = understudies ?? holdersOf(roster, stage).map(({ peer }) => peer)
  return peers.slice(0, DONORS_MAX).map((peer) => ({ stage, peer, copy: null }))
}

/** Names of the strategies that are tried for a stage that nobody holds. */
function policyFor(run: Run, roster: Roster, loss: Omit<Loss, 'isLastResort'>): readonly string[] {
  // Before the first step a stage has learnt nothing: it is made as the run was started.
  if (isFresh(roster)) return [roster.origin === null ? 'seed' : 'resume']
  // After a rollback other stages are no donors: each comes back exactly as it was at that step.
  return isRestored(roster) ? ['checkpoint'] : withDisks(run.recovery.policy, loss)
}
