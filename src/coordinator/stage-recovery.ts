/** How a stage that nobody holds gets a holder: a spare rebuilds it by the run's policy, or the whole run rolls back. */
import { ProtocolError } from '../../protocols/errors.ts'
import type { Member, Roster } from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'
import { type Donor, hold } from '../../protocols/step.ts'
import type { Skipped } from '../base/journal.ts'
import { DONORS_MAX, TIMEOUTS } from '../base/limits.ts'
import type { CheckpointCoordinator } from '../checkpoint/checkpoint-coordinator.ts'
import { inventory } from '../copies/inventory.ts'
import type { AgreementOptions } from '../membership/agreement.ts'
import { emptyStages, holdersOf, isFresh, isRestored, memberById } from '../membership/roster.ts'
import { choose, isOfOwnState, STRATEGIES, withDisks } from '../recovery/index.ts'
import type { KeptCopy, Loss, Origin } from '../recovery/strategy.ts'
import { holdMs } from '../run/budgets.ts'
import type { Run } from '../run/run.ts'
import type { ChangeSignal } from './change-signal.ts'
import type { Health } from './health.ts'
import type { Match, RebuildProgress } from './placement.ts'
import { askMember } from './round.ts'
import { RunFailure } from './run-failure.ts'
import { type Candidates, toOwners } from './stage-owners.ts'

export interface StageRecoveryOptions extends AgreementOptions {
  readonly run: Run
  readonly health: Health
  readonly checkpoints: CheckpointCoordinator
  readonly changed: ChangeSignal
}

/** A member that rebuilds a stage. The rebuild goes on when other members are lost. */
interface Rebuild extends RebuildProgress {
  readonly peer: PeerId
  phase: RebuildProgress['phase']
  /** True if the stage gets a state that it had itself. */
  readonly isOwn: boolean
  /** Ends the question, and only this one. */
  readonly attempt: AbortController
}

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
  /** By member id. */
  readonly #rebuilds = new Map<number, Rebuild>()
  /** Why this peer itself cannot take a stage; null if it can. */
  #failure: Error | null = null
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

  /** By member id. */
  get progress(): ReadonlyMap<number, RebuildProgress> {
    return this.#rebuilds
  }

  /**
   * Has members rebuild the stages that they are matched with, and does not wait for them, unless the run must roll back
   * first. Stages with a state of their own come first, so that the others can be made from them afterwards.
   * @returns the rollback that the whole run makes instead; `later` if other rebuilds must end first
   * @throws ProtocolError REFUSED if no strategy can rebuild one of the stages
   */
  async begin(
    asked: readonly Match[],
    candidates: Candidates & Vetting,
  ): Promise<'begun' | 'later' | Rollback> {
    const { copies, rebuilding } = await inventory(this.#options, this.#roster)
    const owners = toOwners(asked, copies, candidates)
    const matches = this.#dueFirst(withBuilders(owners, candidates.spares, rebuilding), copies)
    if (matches.length === 0) return 'later'
    const rollback = await this.#findRollback(matches, copies)
    if (rollback === 'none found') return 'begun'
    if (rollback !== null) {
      this.#clear()
      return rollback
    }
    const planned = matches.map((match) => ({ match, plan: this.#planFor(match.stage, copies) }))
    // The spares build meanwhile. One that its neighbours do not reach stays a spare, and its stage is matched anew.
    const vetted = candidates.vet(matches).then((unfit) => this.#refuse(unfit))
    vetted.catch(() => {})
    for (const { match, plan } of planned) void this.#rebuild(match, plan, vetted)
    return 'begun'
  }

  /**
   * Takes in what the last changes of the roster say.
   * @throws the failure of a rebuild, if this peer itself cannot take a stage
   */
  follow(): void {
    for (const [id, { stage }] of this.#rebuilds) {
      if (memberById(this.#roster, id)?.stage !== stage) continue
      this.#rebuilds.delete(id)
      // A holder that is lost already has emptied the stage once more.
      const { lost } = this.#options.health
      if (!lost.has(id)) lost.filled(stage)
    }
    const failure = this.#failure
    this.#failure = null
    if (failure !== null) throw failure
  }

  /** The member is out of the roster, or is not to take the stage. */
  forget(id: number): void {
    const rebuild = this.#rebuilds.get(id)
    this.#rebuilds.delete(id)
    rebuild?.attempt.abort(new ProtocolError('STALE', `${rebuild.peer} is not to take the stage`))
  }

  #refuse(unfit: ReadonlySet<number>): void {
    for (const id of unfit) this.forget(id)
    if (unfit.size > 0) this.#options.changed.notify()
  }

  #clear(): void {
    for (const id of [...this.#rebuilds.keys()]) this.forget(id)
  }

  /** @throws RunFailure if no strategy could bring one of these stages back, also after a peer joins */
  async check(stages: readonly number[]): Promise<void> {
    const { copies } = await inventory(this.#options, this.#roster)
    for (const stage of stages) this.#planFor(stage, copies)
  }

  /**
   * Matches whose stage has a state of its own, if only some have. The others wait until such stages are rebuilt; empty
   * while only such rebuilds are waited for.
   */
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
    const isWaiting = [...this.#rebuilds.values()].some(({ isOwn }) => isOwn)
    return first.length > 0 || isWaiting ? first : matches
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

  /**
   * Has one spare rebuild one stage. Notifies the coordinator at the end. Does not throw.
   * @param vetted resolves once it is known whether the spare and its neighbours reach each other
   */
  async #rebuild(match: Match, plan: Plan, vetted: Promise<void>): Promise<void> {
    const { clock, signal, changed } = this.#options
    const { stage, member } = match
    const attempt = new AbortController()
    const isOwn = isOfOwnState(STRATEGIES.get(plan.strategy)!)
    const rebuild: Rebuild = { stage, peer: member.peer, phase: 'building', isOwn, attempt }
    this.#rebuilds.set(member.id, rebuild)
    const isOver = () => this.#rebuilds.get(member.id) !== rebuild
    try {
      await this.#ask(match, plan, AbortSignal.any([signal, attempt.signal]))
      await vetted
      if (isOver()) return
      rebuild.phase = 'built'
    } catch (error) {
      if (signal.aborted || isOver()) return
      this.#noteFailure(match, plan.strategy, error as Error)
      // A donor or a link that failed once may work in a moment. A member that fails too often is lost.
      await clock.sleep(TIMEOUTS.retryMs, signal).catch(() => {})
      if (!isOver()) this.#rebuilds.delete(member.id)
    }
    changed.notify()
  }

  async #ask({ stage, member: { peer } }: Match, plan: Plan, signal: AbortSignal): Promise<void> {
    const { clock, journal, run, runId, health } = this.#options
    const { committed: step, loss, epoch } = this.#roster
    const { strategy, donors } = plan
    const emptiedAt = health.lost.emptiedAt(stage)
    const question = { run: runId, epoch, step, stage, strategy, donors }
    const options = { timeoutMs: holdMs(run, stage), signal }
    const answer = await askMember(this.#options, peer, hold, question, options)
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
  }

  #noteFailure({ stage, member }: Match, strategy: string, error: Error): void {
    const { journal, network, health } = this.#options
    const { peer, id } = member
    const code = error instanceof ProtocolError ? error.code : 'INTERNAL'
    const reason = `${peer} did not take stage ${stage}: ${error.message}`
    journal.write({ type: 'notice', message: reason })
    if (code === 'CORRUPT' && strategy === 'checkpoint') this.#isDamaged = true
    // The member is gone, which its health says, or it was given another stage. It has no fault.
    if (code === 'PEER_LOST' || code === 'STALE') return
    const isTooOften = health.failsTooOften(id)
    // With a fault of its own, or one failure too many, the member would be asked again for ever.
    if (code !== 'INTERNAL' && code !== 'REFUSED' && !isTooOften) return
    if (peer === network.self) this.#failure = error
    else health.lose(peer, reason)
  }
}

/**
 * The same stages, each with the spare that rebuilds it already, if there is one: an earlier coordinator asked it to. The
 * member that was matched with the stage takes the builder's place.
 */
function withBuilders(
  matches: readonly Match[],
  spares: readonly Member[],
  rebuilding: ReadonlyMap<PeerId, number>,
): readonly Match[] {
  if (rebuilding.size === 0) return matches
  const members = new Map(matches.map(({ stage, member }) => [stage, member]))
  for (const builder of spares) {
    const stage = rebuilding.get(builder.peer)
    const matched = stage === undefined ? undefined : members.get(stage)
    if (stage === undefined || matched === undefined) continue
    const other = matches.find((each) => members.get(each.stage)?.id === builder.id)
    if (other !== undefined) members.set(other.stage, matched)
    members.set(stage, builder)
  }
  return matches.map(({ stage }) => ({ stage, member: members.get(stage)! }))
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
