/** A peer's side of the run: follows the roster, holds at most one stage, and does what the coordinator asks. */
import { type Announcement, announce, listen } from '../protocols/announcement.ts'
import type { Clock } from '../protocols/clock.ts'
import { ProtocolError } from '../protocols/errors.ts'
import type { Roster } from '../protocols/membership.ts'
import * as membership from '../protocols/membership.ts'
import { type MicrobatchHeader, microbatch, senderOf } from '../protocols/microbatch.ts'
import type { Network, PeerId } from '../protocols/network.ts'
import type { Procedure, Service } from '../protocols/procedure.ts'
import * as steps from '../protocols/step.ts'
import { type WeightsQuestion, weights } from '../protocols/weights.ts'
import type { AnyStage } from '../stages/stage.ts'
import { CoordinatorWatch } from './coordinator-watch.ts'
import { gatherStage } from './gather.ts'
import { Holding } from './holding.ts'
import type { Journal } from './journal.ts'
import { ANNOUNCEMENT_INTERVAL_MS } from './limits.ts'
import { coordinatorOf, memberOf } from './roster.ts'
import type { Run } from './run.ts'
import { serveRun } from './serve-run.ts'
import type { Data } from './work.ts'

export interface MemberOptions {
  readonly run: Run
  readonly runId: string
  readonly network: Network
  readonly clock: Clock
  readonly journal: Journal
  /** Builds a stage with the run's initial weights. */
  createStage(stage: number): Promise<AnyStage>
  /** Reads the corpus; only the driver does. @throws InputError if it is missing or another one */
  loadData(): Promise<Data>
  /** Keeps the final weights of the held stage, as they are after `step`; gives the path. */
  save?(stage: AnyStage, index: number, step: number): Promise<string>
}

/** How the run ended for this peer. */
export interface Finished {
  readonly committed: number
  readonly failure: string | null
}

const IDLE_DATA: Data = {
  training: () => {
    throw new Error('only the driver reads tokens')
  },
  heldOut: () => {
    throw new Error('only the driver reads tokens')
  },
}

export class Member {
  readonly #options: MemberOptions
  readonly #stopping = new AbortController()
  readonly #finished = Promise.withResolvers<Finished>()
  readonly #admitted = Promise.withResolvers<void>()
  readonly #handlers: readonly (() => void)[]
  #roster: Roster | null = null
  #stopReferring: (() => void) | null = null
  #committed = 0
  #held: Holding | null = null
  /** A stage is being built or fetched. */
  #building: AbortController | null = null
  readonly #watch: CoordinatorWatch
  #announcedAt = Number.NEGATIVE_INFINITY

  constructor(options: MemberOptions) {
    this.#options = options
    this.#watch = new CoordinatorWatch({
      ...options,
      signal: this.#stopping.signal,
      roster: () => this.#roster,
    })
    this.#handlers = [
      // Members need no announcements themselves, but pass on only what they listen to.
      listen(options.network, options.runId, () => {}),
      this.#serve(membership.adopt, {
        serve: async (from, { roster }) => ({ answer: await this.#adopt(from, roster) }),
      }),
      this.#serve(membership.heartbeat, {
        serve: async (from) => {
          if (this.#roster !== null) {
            if (memberOf(this.#roster, from) === undefined) {
              // Who was dropped while it was silent must learn of it: it would wait for ever.
              throw new ProtocolError('REFUSED', `${from} is not in the roster any more`)
            }
            if (from === coordinatorOf(this.#roster).peer) this.#watch.heard()
          }
          return { answer: { epoch: this.#roster?.epoch ?? 0 } }
        },
      }),
      this.#serve(membership.finish, {
        serve: async (from, { committed, failure }) => {
          this.#fromCoordinator(from)
          this.#finished.resolve({ committed, failure })
          return { answer: {} }
        },
      }),
      this.#serve(steps.hold, {
        serve: async (from, question) => {
          this.#fromCoordinator(from)
          return { answer: await this.#hold(question) }
        },
      }),
      this.#serve(steps.prepare, {
        serve: async (from, { routes, ...fence }) => {
          this.#fromCoordinator(from)
          return { answer: await this.#holding().prepare(fence, routes) }
        },
      }),
      this.#serve(steps.commit, {
        serve: async (from, question) => {
          this.#fromCoordinator(from)
          return { answer: await this.#commit(question) }
        },
      }),
      this.#serve(steps.evaluate, {
        serve: async (from, { routes, ...fence }) => {
          this.#fromCoordinator(from)
          return { answer: { loss: await this.#holding().evaluate(fence, routes) } }
        },
      }),
      this.#serve(microbatch, {
        accept: (from, header, length) => {
          this.#checkRoute(from, header)
          return this.#holding().accept(header, length)
        },
        serve: async (from, header, body) => {
          this.#checkRoute(from, header)
          this.#holding().receive(header, body)
          return { answer: {} }
        },
      }),
      this.#serve(weights, {
        serve: async (from, question) =>
          this.#donor(from, question).donate(question.offset, question.length),
      }),
    ]
  }

  /** Resolves when this peer is first named in a roster. */
  get admitted(): Promise<void> {
    return this.#admitted.promise
  }

  /** Answers newcomers who ask this peer with the name of the one that lets them in. */
  referNewcomers(): void {
    this.#stopReferring = this.#serve(membership.hello, {
      serve: async () => {
        if (this.#roster === null) return { answer: { result: 'later' as const } }
        const { peer, addresses } = coordinatorOf(this.#roster)
        return { answer: { result: 'ask' as const, coordinator: peer, addresses } }
      },
    })
  }

  /** From now on somebody else answers newcomers: the coordinator's swarm. */
  stopReferring(): void {
    this.#stopReferring?.()
    this.#stopReferring = null
  }

  /** Resolves when the run is over for this peer, one way or the other. */
  get finished(): Promise<Finished> {
    return this.#finished.promise
  }

  get committed(): number {
    return this.#committed
  }

  /** Writes down how the run ended for this peer, whichever way, and keeps the weights that it holds. */
  async conclude(outcome: Finished): Promise<void> {
    const { save, journal } = this.#options
    if (save && this.#held !== null) {
      const { index, stage } = this.#held
      const path = await save(stage, index, this.#committed)
      journal.write({ type: 'saved', stage: index, path })
    }
    journal.write({ type: 'finished', ...outcome })
  }

  /** Stops serving, and frees the stage. */
  async close(): Promise<void> {
    if (this.#stopping.signal.aborted) return
    const reason = new ProtocolError('REFUSED', 'this peer stops')
    this.#stopping.abort(reason)
    this.#building?.abort(reason)
    for (const remove of this.#handlers) remove()
    this.stopReferring()
    await this.#held?.close()
  }

  /** Gives up when the coordinator is lost. Another taking over comes with replicas. */
  async watchCoordinator(): Promise<void> {
    const failure = await this.#watch.lost()
    if (failure !== null) this.#finished.resolve({ committed: this.#committed, failure })
  }

  #serve<Question extends { run: string }, Answer>(
    procedure: Procedure<Question, Answer>,
    service: Service<Question, Answer>,
  ): () => void {
    return serveRun(this.#options, procedure, service)
  }

  #fromCoordinator(from: PeerId): void {
    if (this.#roster === null || from !== coordinatorOf(this.#roster).peer) {
      throw new ProtocolError('REFUSED', `${from} does not coordinate this run`)
    }
    this.#watch.heard()
  }

  /** A microbatch comes from the peer before this one on its route, and its route is the roster's. */
  #checkRoute(from: PeerId, header: MicrobatchHeader): void {
    const roster = this.#roster
    if (roster === null) throw new ProtocolError('REFUSED', 'this peer is not in a roster')
    if (from !== senderOf(header)) {
      throw new ProtocolError(
        'REFUSED',
        `microbatch ${header.index} should come from ${senderOf(header)}`,
      )
    }
    const ends = { stage: 0, peer: header.driver }
    for (const { stage, peer } of [ends, ...header.route]) {
      if (memberOf(roster, peer)?.stage === stage) continue
      throw new ProtocolError(
        'REFUSED',
        `${peer} does not hold stage ${stage} in epoch ${roster.epoch}`,
      )
    }
  }

  #holding(): Holding {
    if (this.#held === null) throw new ProtocolError('REFUSED', 'this peer holds no stage')
    return this.#held
  }

  async #adopt(from: PeerId, roster: Roster): Promise<{ committed: number }> {
    const { network, runId } = this.#options
    const known = this.#roster
    if (from !== coordinatorOf(roster).peer || (known && coordinatorOf(known).peer !== from)) {
      throw new ProtocolError('REFUSED', `${from} does not coordinate this run`)
    }
    if (known && roster.epoch <= known.epoch) {
      throw new ProtocolError('STALE', `epoch ${roster.epoch}; this peer is at ${known.epoch}`)
    }
    const stage = memberOf(roster, network.self)?.stage
    if (stage === undefined) throw new ProtocolError('REFUSED', 'this peer is not in the roster')
    this.#building?.abort(new ProtocolError('STALE', 'a new roster came'))
    // A stage that was built too late for whoever asked for it.
    if (stage === null) await this.#drop()
    const held = this.#held
    if (stage !== (held?.index ?? null)) {
      throw new ProtocolError(
        'REFUSED',
        `the roster gives this peer stage ${stage}, it holds ${held?.index ?? 'none'}`,
      )
    }
    if (held === null) this.#committed = roster.committed
    if (this.#committed !== roster.committed) {
      throw new ProtocolError(
        'REFUSED',
        `the roster is at step ${roster.committed}, this peer at ${this.#committed}`,
      )
    }
    this.#watch.heard()
    this.#roster = roster
    this.#admitted.resolve()
    for (const { peer, addresses } of roster.members) {
      if (peer !== network.self) network.learn(peer, addresses)
    }
    await held?.open({ run: runId, epoch: roster.epoch, step: this.#committed + 1 })
    return { committed: this.#committed }
  }

  async #hold(question: steps.HoldQuestion): Promise<steps.HoldAnswer> {
    const { run, network, clock, journal, createStage, loadData } = this.#options
    if (this.#held !== null) {
      throw new ProtocolError('REFUSED', `this peer holds stage ${this.#held.index} already`)
    }
    // Building takes long, and who asked for it may have given up since: then another roster or stage comes first.
    this.#building?.abort(new ProtocolError('STALE', 'this peer was given another stage'))
    const building = new AbortController()
    this.#building = building
    const begun = clock.now()
    const stage = await createStage(question.stage)
    try {
      building.signal.throwIfAborted()
      const gathered = await gatherStage({
        network,
        stage,
        question,
        settings: run.recovery,
        signal: building.signal,
      })
      const data = stage.kind === 'ends' ? await loadData() : IDLE_DATA
      building.signal.throwIfAborted()
      this.#building = null
      this.#held = new Holding({
        run,
        network,
        clock,
        stage,
        stageIndex: question.stage,
        data,
        learningRateScale: gathered.learningRateScale,
      })
      this.#committed = question.step
      const seconds = (clock.now() - begun) / 1000
      const { strategy } = question
      journal.write({
        type: 'holding',
        stage: question.stage,
        strategy,
        bytes: gathered.bytes,
        seconds,
      })
      return { ...gathered, seconds }
    } catch (error) {
      await stage.close()
      const message = `could not take stage ${question.stage}: ${(error as Error).message}`
      if (!building.signal.aborted) journal.write({ type: 'notice', message })
      throw error
    }
  }

  async #drop(): Promise<void> {
    const held = this.#held
    this.#held = null
    await held?.close()
  }

  async #commit(question: steps.CommitQuestion) {
    const { epoch, step, loss } = question
    if (epoch !== this.#roster?.epoch) {
      throw new ProtocolError('STALE', `epoch ${epoch}; this peer is at ${this.#roster?.epoch}`)
    }
    const { update, busySeconds } = await this.#holding().commit(question)
    this.#committed = step
    this.#announce({ step, loss, busySeconds })
    this.#options.journal.write({ type: 'committed', step, loss, ...update })
    return { committed: step }
  }

  /** Every announcement costs each member a signature's check, so that a fast swarm must not make one a step. */
  #announce(step: Pick<Announcement, 'step' | 'loss' | 'busySeconds'>): void {
    const { network, clock, runId } = this.#options
    if (clock.now() - this.#announcedAt < ANNOUNCEMENT_INTERVAL_MS) return
    this.#announcedAt = clock.now()
    const { epoch, members } = this.#roster!
    const { index: stage } = this.#holding()
    announce(network, runId, { ...step, stage, epoch, members: members.length })
  }

  /** The stage, if it is as the asker believes: weights of another step must not be averaged. */
  #donor(from: PeerId, { epoch, step, stage }: WeightsQuestion): Holding {
    if (this.#roster === null || memberOf(this.#roster, from) === undefined) {
      throw new ProtocolError('REFUSED', `${from} is not in the roster`)
    }
    const held = this.#holding()
    if (epoch !== this.#roster?.epoch || step !== this.#committed || stage !== held.index) {
      throw new ProtocolError(
        'STALE',
        `asked for stage ${stage} after step ${step} in epoch ${epoch}; this peer holds stage ${held.index} after step ${this.#committed} in epoch ${this.#roster?.epoch}`,
      )
    }
    return held
  }
}
