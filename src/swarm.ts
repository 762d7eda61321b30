/**
 * The coordinator's hold on the swarm: the roster, who is suspected, who waits to be let in, and the questions that go
 * to all holders at once. It knows nothing of what a step means; `train.ts` does.
 */
import type { Clock } from '../protocols/clock.ts'
import { ProtocolError } from '../protocols/errors.ts'
import type { Member, Roster } from '../protocols/membership.ts'
import * as membership from '../protocols/membership.ts'
import type { Network, PeerId } from '../protocols/network.ts'
import { ask, type Procedure } from '../protocols/procedure.ts'
import { type CommitQuestion, commit, hold, type Route } from '../protocols/step.ts'
import type { Journal } from './journal.ts'
import { HOLD_ATTEMPTS, NEWCOMERS_MAX, TIMEOUTS } from './limits.ts'
import { Liveness } from './liveness.ts'
import { type Match, matchSpares, planFor } from './placement.ts'
import { emptyStages, holderOf, memberOf, nextRoster, normalRoute } from './roster.ts'
import type { Run } from './run.ts'
import { serveRun } from './serve-run.ts'

export interface SwarmOptions {
  readonly run: Run
  readonly runId: string
  readonly network: Network
  readonly clock: Clock
  readonly journal: Journal
  /** The stage that the founder insists on, or null. */
  readonly wish: number | null
}

export class Swarm {
  readonly #options: SwarmOptions
  readonly #stopping = new AbortController()
  readonly #joining: Member[] = []
  /** The stage that a peer insists on holding. */
  readonly #wishes = new Map<PeerId, number | null>()
  readonly #liveness: Liveness
  readonly #lost = new Map<PeerId, string>()
  /** How often a peer did not take a stage that it was asked to take. */
  readonly #holdFailures = new Map<PeerId, number>()
  /** Ends the commit of a peer that is lost while it is asked. */
  readonly #committing = new Map<PeerId, AbortController>()
  /** Stages that had a holder once, with when the last one was lost (null while it is held). */
  readonly #everHeld = new Map<number, number | null>()
  readonly #removers: (() => void)[]
  #roster: Roster
  /** Aborts when a member is lost: what is being asked of the swarm then has no use. */
  #attempt = new AbortController()
  /** The step in hand was given up: its sums must be emptied by a new epoch. */
  #stale = true
  #changed = Promise.withResolvers<void>()
  #lastLoss: number | null = null

  constructor(options: SwarmOptions) {
    this.#options = options
    const { network } = options
    this.#roster = {
      epoch: 0,
      committed: 0,
      members: [{ peer: network.self, addresses: [...network.addresses], stage: null }],
    }
    this.#wishes.set(network.self, options.wish)
    this.#removers = [
      serveRun(options, membership.hello, {
        serve: async (from, question) => ({ answer: this.#admit(from, question) }),
      }),
      serveRun(options, membership.leave, {
        serve: async (from) => {
          this.#lose(from, 'it left')
          return { answer: {} }
        },
      }),
    ]
    this.#liveness = new Liveness({
      ...options,
      signal: this.#stopping.signal,
      roster: () => this.#roster,
      lose: (peer, reason) => this.#lose(peer, reason),
    })
  }

  get roster(): Roster {
    return this.#roster
  }

  /** The concrete holders that each of `count` microbatches visits. */
  routes(count: number): Route[] {
    const route = normalRoute(this.#roster, this.#options.run.stages)
    return Array.from({ length: count }, () => route)
  }

  get fence(): { run: string; epoch: number; step: number } {
    return {
      run: this.#options.runId,
      epoch: this.#roster.epoch,
      step: this.#roster.committed + 1,
    }
  }

  get stageCount(): number {
    return this.#options.run.stages + 1
  }

  /** Asks the holder of one stage. */
  askHolder<Question, Answer>(
    stage: number,
    what: Procedure<Question, Answer>,
    question: Question,
    timeoutMs: number,
  ): Promise<Answer> {
    const { peer } = holderOf(this.#roster, stage)!
    return this.#ask(peer, what, question, timeoutMs)
  }

  /** Asks the holders of all stages the same; answers in the order of the stages, or the first failure. */
  askAll<Question, Answer>(
    what: Procedure<Question, Answer>,
    question: Question,
    timeoutMs: number,
  ): Promise<Answer[]> {
    const stages = Array.from({ length: this.stageCount }, (_, stage) => stage)
    return Promise.all(stages.map((stage) => this.askHolder(stage, what, question, timeoutMs)))
  }

  /**
   * Has every holder apply the step. Nothing stops it half-way: a holder that does not answer may or may not have
   * applied, so it counts as lost, and its stage is rebuilt as of this step.
   */
  async commit(decision: CommitQuestion): Promise<void> {
    const { network } = this.#options
    const { signal } = this.#stopping
    await Promise.all(
      this.#roster.members.map(async ({ peer, stage }) => {
        if (stage === null) return
        const lost = new AbortController()
        this.#committing.set(peer, lost)
        const options = {
          timeoutMs: TIMEOUTS.commitMs,
          signal: AbortSignal.any([signal, lost.signal]),
        }
        try {
          await ask(network, peer, commit, decision, options)
        } catch (error) {
          signal.throwIfAborted()
          const reason = `it did not commit step ${decision.step}: ${(error as Error).message}`
          // The others have applied the step; without this peer itself nobody can tell them to go on from there.
          if (peer === network.self) throw new Error(`the coordinator itself: ${reason}`)
          this.#lose(peer, reason)
        } finally {
          this.#committing.delete(peer)
        }
      }),
    )
    this.#roster = { ...this.#roster, committed: decision.step }
    this.#lastLoss = decision.loss
  }

  /** Gives up the step in hand; whoever is named in the failure is looked at again before the next attempt. */
  abandon(): void {
    this.#stale = true
    this.#attempt.abort(new ProtocolError('STALE', 'the step was given up'))
  }

  /**
   * Brings the swarm to where every stage has a live holder under one roster: lets in who waits, lets go who is lost,
   * gives empty stages to spares, rebuilds lost ones. Waits for a joiner when there is no spare.
   */
  async settle(): Promise<void> {
    for (;;) {
      this.#stopping.signal.throwIfAborted()
      await this.#liveness.settled()
      this.#changed = Promise.withResolvers()
      if (this.#stale || this.#joining.length > 0 || this.#lost.size > 0) {
        await this.#renew(new Map(), 'members changed')
        continue
      }
      const empty = emptyStages(this.#roster, this.#options.run.stages)
      if (empty.length === 0) return
      const lost = (stage: number) => this.#everHeld.has(stage)
      const taken = matchSpares(this.#roster, empty, lost, this.#wishes)
      if (taken.length === 0) {
        await this.#wait(empty)
        continue
      }
      const assigned = await this.#fill(taken)
      if (assigned.size > 0) await this.#renew(assigned, 'stages were filled')
      // A donor or a link that failed once may do better in a moment; who fails too often is lost.
      else await this.#options.clock.sleep(TIMEOUTS.retryMs, this.#stopping.signal)
    }
  }

  /** Tells everyone that the run is over. Who cannot be told is gone already. */
  async finish(failure: string | null): Promise<void> {
    // From here on nobody is let in, and who goes away does as it was told.
    this.stop()
    const { network, runId } = this.#options
    const question = { run: runId, committed: this.#roster.committed, failure }
    const options = { timeoutMs: TIMEOUTS.commitMs }
    const others = this.#roster.members.filter(({ peer }) => peer !== network.self)
    await Promise.allSettled(
      others.map(({ peer }) => ask(network, peer, membership.finish, question, options)),
    )
  }

  /** Ends what is under way; the roster stays as it is. */
  stop(): void {
    this.#stopping.abort(new ProtocolError('REFUSED', 'the run is over'))
    this.#attempt.abort(this.#stopping.signal.reason)
    this.#changed.resolve()
    for (const remove of this.#removers) remove()
  }

  async #ask<Question, Answer>(
    peer: PeerId,
    what: Procedure<Question, Answer>,
    question: Question,
    timeoutMs: number,
  ): Promise<Answer> {
    try {
      const options = { timeoutMs, signal: this.#attempt.signal }
      return await ask(this.#options.network, peer, what, question, options)
    } catch (error) {
      if (error instanceof ProtocolError && !error.definite) {
        await this.#liveness.suspect(peer, error.message)
      }
      throw error
    }
  }

  #admit(from: PeerId, { addresses, stage }: typeof membership.hello.question._output) {
    const { run: manifest } = this.#options
    if (stage !== null && stage > manifest.stages) {
      throw new ProtocolError(
        'REFUSED',
        `stage ${stage} of ${manifest.stages + 1}: stages are 0..${manifest.stages}`,
      )
    }
    // Its question was asked again, since the answer came too late: it waits already.
    if (this.#joining.some(({ peer }) => peer === from)) return { result: 'welcome' as const }
    if (this.#joining.length >= NEWCOMERS_MAX) {
      throw new ProtocolError('BUSY', `${NEWCOMERS_MAX} newcomers wait to be let in already`)
    }
    // Same name, no stage: the process that was a member is gone, and this one came in its place.
    this.#lose(from, 'it was started again')
    this.#wishes.set(from, stage)
    this.#joining.push({ peer: from, addresses, stage: null })
    this.#options.network.learn(from, addresses)
    this.#changed.resolve()
    return { result: 'welcome' as const }
  }

  #lose(peer: PeerId, reason: string): void {
    const member = memberOf(this.#roster, peer)
    if (member === undefined || this.#lost.has(peer)) return
    this.#lost.set(peer, reason)
    this.#committing.get(peer)?.abort(new ProtocolError('PEER_LOST', reason))
    if (member.stage !== null) this.#everHeld.set(member.stage, this.#options.clock.now())
    this.#options.journal.write({ type: 'lost', lost: peer, stage: member.stage, reason })
    // A lost spare disturbs no step; the roster is renewed at the next one.
    if (member.stage !== null) {
      this.#attempt.abort(new ProtocolError('PEER_LOST', `stage ${member.stage} lost ${peer}`))
    }
    this.#changed.resolve()
  }

  /** Makes the roster of the next epoch and has every member adopt it; who does not is lost. */
  async #renew(assigned: ReadonlyMap<PeerId, number>, reason: string): Promise<void> {
    const { network, runId, journal } = this.#options
    const leaving = new Set(this.#lost.keys())
    this.#roster = nextRoster(this.#roster, {
      joining: this.#joining.splice(0),
      leaving,
      assigned,
    })
    for (const peer of leaving) this.#lost.delete(peer)
    this.#stale = false
    this.#attempt = new AbortController()
    journal.write({ type: 'roster', roster: this.#roster, reason })
    const question = { run: runId, roster: this.#roster }
    const options = { timeoutMs: TIMEOUTS.rosterMs, signal: this.#stopping.signal }
    await Promise.all(
      this.#roster.members.map(async ({ peer }) => {
        try {
          await ask(network, peer, membership.adopt, question, options)
        } catch (error) {
          this.#stopping.signal.throwIfAborted()
          if (peer === network.self)
            throw new Error(`the coordinator itself: ${(error as Error).message}`)
          this.#lose(
            peer,
            `it did not adopt epoch ${this.#roster.epoch}: ${(error as Error).message}`,
          )
        }
      }),
    )
  }

  /** Has spares take the stages that they are matched with; gives those that did. */
  async #fill(matches: readonly Match[]): Promise<Map<PeerId, number>> {
    const held = await Promise.all(matches.map(({ stage, peer }) => this.#give(stage, peer)))
    return new Map(matches.filter((_, i) => held[i]).map(({ stage, peer }) => [peer, stage]))
  }

  /** Has one spare build one stage. True if it now holds it. */
  async #give(stage: number, peer: PeerId): Promise<boolean> {
    const { run, clock, journal } = this.#options
    const lostAt = this.#everHeld.get(stage)
    const plan = planFor(run, this.#roster, stage, lostAt !== undefined)
    const { strategy, donors } = plan
    try {
      const question = { ...this.fence, step: this.#roster.committed, stage, strategy, donors }
      const answer = await this.#ask(peer, hold, question, TIMEOUTS.holdMs)
      journal.write({
        type: 'held',
        stage,
        by: peer,
        cause: lostAt === undefined ? 'empty' : 'lost',
        ...plan,
        ...answer,
        secondsSinceLoss: lostAt == null ? null : (clock.now() - lostAt) / 1000,
        lossBefore: this.#lastLoss,
      })
      this.#everHeld.set(stage, null)
      return true
    } catch (error) {
      const code = error instanceof ProtocolError ? error.code : 'INTERNAL'
      const reason = `${peer} did not take stage ${stage}: ${(error as Error).message}`
      journal.write({ type: 'notice', message: reason })
      this.#stopping.signal.throwIfAborted()
      // Somebody else was lost meanwhile, and with it this attempt: nobody's fault here.
      if (code === 'PEER_LOST' || code === 'STALE') return false
      const failures = (this.#holdFailures.get(peer) ?? 0) + 1
      this.#holdFailures.set(peer, failures)
      // Its own fault, or one too many: it would be asked again for ever.
      if (code === 'INTERNAL' || code === 'REFUSED' || failures >= HOLD_ATTEMPTS) {
        if (peer === this.#options.network.self) throw error
        this.#lose(peer, reason)
      }
      return false
    }
  }

  async #wait(empty: readonly number[]): Promise<void> {
    const reason = 'for a spare or a joiner to take them'
    this.#options.journal.write({ type: 'waiting', stages: [...empty], reason })
    await this.#changed.promise
  }
}
