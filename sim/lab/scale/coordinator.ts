/**
 * The coordinator of a modelled swarm. It settles and makes steps in the order of `src/coordinator/train.ts`. The node's
 * functions take its decisions (`next-action.ts`, `journeys.ts`, `stage-recovery.ts`). A question to all members is one
 * delay instead of a message each.
 */
import { type Change, JOINS_MAX } from '../../../protocols/agreement.ts'
import { ProtocolError } from '../../../protocols/errors.ts'
import { TIMEOUTS } from '../../../src/base/limits.ts'
import {
  type Action,
  type MembersChange,
  nextAction,
  type View,
} from '../../../src/coordinator/next-action.ts'
import { Speeds } from '../../../src/coordinator/speeds.ts'
import { holdersOf, isFresh } from '../../../src/membership/roster.ts'
import { fill, planOf, type Recovering } from './filling.ts'
import { Learners } from './learners.ts'
import { Aborted, makeStep, type Stepping } from './step.ts'
import type { Listener, Swarm } from './swarm.ts'
import { type Course, Gate } from './timeline.ts'
import type { Upkeep } from './upkeep.ts'

/** Bytes of a change without its content: question and answer of `propose` and of `install`. */
const CHANGE_BYTES = 1_200

/** Bytes of a member in a deflated roster. */
const MEMBER_BYTES = 64

const NONE: ReadonlyMap<string, null> = new Map()
const NOBODY: View['leaving'] = new Map()
/** No link of the modelled swarm breaks. */
const SOUND: View['links'] = { neighbours: [], broken: { isEmpty: true, has: () => false } }

type Proposal = Omit<Extract<Change, { type: 'members' }>, 'coordinator' | 'ballot' | 'type'>

export class Coordinator implements Listener, Recovering, Stepping {
  readonly swarm: Swarm
  readonly upkeep: Upkeep
  readonly speeds = new Speeds()
  /** When the coordinator noticed that a stage had lost its last holder, by stage. */
  readonly lostAt = new Map<number, number>()
  readonly holdFailures = new Map<number, number>()
  readonly #learners: Learners
  readonly lost = new Set<number>()
  #stale = false
  #changed = new Gate()
  /** Opens when a holder is lost. */
  #interrupted = new Gate()

  constructor(swarm: Swarm, upkeep: Upkeep) {
    this.swarm = swarm
    this.upkeep = upkeep
    this.#learners = new Learners(
      swarm,
      upkeep,
      () => this.#changed.open(),
      (id) => this.lose(id),
    )
    swarm.listener = this
  }

  get interrupted(): Gate {
    return this.#interrupted
  }

  closeInterrupted(): void {
    this.#interrupted = new Gate()
  }

  welcome(): void {
    this.#changed.open()
  }

  lose(id: number): void {
    if (this.lost.has(id)) return
    this.lost.add(id)
    const { roster, timeline } = this.swarm
    const member = roster.members.find((each) => each.id === id)
    if (member?.ready && member.stage !== null) {
      const left = holdersOf(roster, member.stage).filter((holder) => !this.lost.has(holder.id))
      if (left.length === 0) this.lostAt.set(member.stage, timeline.now)
      this.#interrupted.open()
    }
    this.#changed.open()
  }

  /** Trains until the run cannot continue. */
  *course(): Course {
    const { swarm } = this
    // All members are told the roster. A member that does not answer is lost.
    yield swarm.farthestMs
    if (!isFresh(swarm.roster)) {
      for (const stage of swarm.empty) this.lostAt.set(stage, swarm.timeline.now)
    }
    for (const id of swarm.dead.keys()) this.lose(id)
    for (;;) {
      try {
        yield* this.#settle()
        yield* makeStep(this)
      } catch (error) {
        if (error instanceof ProtocolError) {
          swarm.failure = error.message
          return
        }
        if (!(error instanceof Aborted)) throw error
        this.#stale = true
        yield TIMEOUTS.retryMs
      }
    }
  }

  /** Acts as the node's coordinator does: the same function decides, and each action takes its time. */
  *#settle(): Course {
    for (;;) {
      this.#changed = new Gate()
      this.closeInterrupted()
      const action = nextAction(this.#view)
      if (action.type === 'settled') return
      yield* this.#act(action)
    }
  }

  *#act(action: Action): Course {
    switch (action.type) {
      case 'changeMembers':
      case 'release':
        return yield* this.changeMembers(action.change)
      case 'advanceReplicas':
        this.#learners.advance(action.change.assign)
        return yield* this.changeMembers(action.change)
      case 'replicate':
        for (const { stage, member } of action.matches) this.#learners.start(stage, member)
        return
      case 'rebuild':
        return yield* fill(this, action.matches)
      case 'wait':
        return yield* this.#wait(action.stages)
      default:
        throw new Error(`no modelled peer does this: ${action.type}`)
    }
  }

  /** Waits for a spare or a joiner. @throws ProtocolError if no strategy could bring a stage back */
  *#wait(empty: readonly number[]): Course {
    if (this.upkeep.isAsked) yield this.swarm.farthestMs
    const copies = this.upkeep.copies
    for (const stage of empty) planOf(this, stage, copies)
    yield [this.#changed]
  }

  *changeMembers({
    assign = [],
    restart = false,
  }: Pick<MembersChange, 'assign' | 'restart'>): Course {
    const { swarm } = this
    const left = swarm.roster.members.length - this.lost.size
    const join = swarm.joining.slice(0, Math.min(JOINS_MAX, left))
    const leave = [...this.lost]
    const reason = 'members changed'
    const proposal: Proposal = { join, leave, assign: [...assign], restart, reason }
    yield* this.agree({ type: 'members', ...this.#author, ...proposal })
    for (const id of leave) {
      this.lost.delete(id)
      this.speeds.forget(id)
      this.#learners.forget(id)
      this.holdFailures.delete(id)
    }
    swarm.joining = swarm.joining.filter((each) => !join.includes(each))
    this.#learners.fetch(assign)
    if (restart) this.#stale = false
    this.upkeep.follow()
  }

  get #author() {
    const { coordinator, ballot } = this.swarm.roster
    return { coordinator, ballot }
  }

  /** A quorum accepts the change, then all members carry it out. */
  *agree(change: Change): Course {
    const { swarm } = this
    swarm.bytes.agreement += CHANGE_BYTES * swarm.roster.members.length
    yield swarm.quorumMs(swarm.coordinator)
    const { members } = swarm.roster
    // More than half of the members are lost at once, so that no change can be agreed on.
    if (2 * swarm.dead.size > members.length) {
      const alive = members.length - swarm.dead.size
      throw new ProtocolError('REFUSED', `${alive} of ${members.length} members are no majority`)
    }
    swarm.apply(change)
    const { costMs } = swarm.setting
    let workMs = 0
    if (change.type === 'commit') workMs = costMs.update + costMs.zeroGradients
    else if (change.type === 'members' && change.restart) workMs = costMs.zeroGradients
    else if (change.type === 'members' && change.assign.length > 0) {
      // A new holder zeroes its gradient sums. A holder whose stage gets a replica freezes its state.
      workMs = Math.max(costMs.zeroGradients, costMs.optimizerState)
    }
    const askedAt = swarm.timeline.now
    yield workMs * this.#slowness + swarm.farthestMs + this.#rosterMs(change)
    yield* this.#missing(askedAt)
    this.upkeep.follow()
  }

  /** Waits until it is known which members did not carry out a change. These members are lost. */
  *#missing(askedAt: number): Course {
    const { dead, wires, coordinator, timeline } = this.swarm
    let until = timeline.now
    const missed = [...dead].filter(([id]) => !this.lost.has(id))
    for (const [, peer] of missed)
      until = Math.max(until, wires.missedAt(peer, coordinator, askedAt))
    if (until > timeline.now) yield until - timeline.now
    for (const [id] of missed) if (dead.has(id)) this.lose(id)
  }

  /** Time for the newcomers' rosters. Each newcomer gets the whole roster over the coordinator's uplink. */
  #rosterMs(change: Change): number {
    const { wires, coordinator, roster } = this.swarm
    const joining = change.type === 'members' ? change.join.length : 0
    const bytes = joining * MEMBER_BYTES * roster.members.length
    return bytes / wires.line(coordinator, coordinator).bytesPerMs
  }

  /** All members go back to the checkpoint of this step. */
  *rollBack(step: number): Course {
    yield* this.agree({ type: 'rollback', ...this.#author, step, reason: `back to step ${step}` })
    for (const { id } of this.swarm.roster.members) this.#learners.forget(id)
    this.upkeep.forgetAfter(step)
    this.#stale = false
  }

  /** How many times longer than at speed 1 the slowest holder works. */
  get #slowness(): number {
    const { speeds } = this.swarm.setting
    return 1 / Math.min(...speeds)
  }

  get #view(): View {
    const { roster, setting, joining } = this.swarm
    return {
      roster,
      bodyStages: setting.run.stages,
      spares: setting.run.spares,
      wishes: NONE,
      leaving: NOBODY,
      relieved: new Map(),
      faultsOf: () => 0,
      links: SOUND,
      replicas: this.#learners.progress,
      speedOf: (id) => this.speeds.of(id),
      ownId: roster.coordinator,
      isFit: true,
      isStepAbandoned: this.#stale,
      newcomers: joining.length,
      lost: this.lost.size,
    }
  }

  *commit(step: number): Course {
    const decision = { step, learningRate: 0, norm: 0, loss: 0, version: 0 }
    yield* this.agree({ type: 'commit', ...this.#author, ...decision })
  }
}
