/**
 * One step as the coordinator makes it: plans the microbatches' journeys, has the gradients made, brings replicas' sums
 * together. When a holder with replicas is lost in the middle, the plan is mended: only the microbatches that visited the
 * holder are driven again, and every stage still counts each microbatch once.
 */
import type { Clock } from '../../protocols/clock.ts'
import { ProtocolError, type ProtocolErrorCode } from '../../protocols/errors.ts'
import type { Member } from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'
import {
  type Journey,
  OWNERS_MAX,
  type PrepareAnswer,
  prepare,
  type ReportQuestion,
  reduce,
} from '../../protocols/step.ts'
import type { Journal } from '../base/journal.ts'
import { JOURNEY_ATTEMPTS } from '../base/limits.ts'
import { understudiesOf } from '../copies/understudies.ts'
import { isLinkFailure } from '../membership/probe-peers.ts'
import { holdersOf, isHolder, learnersOf, memberById, memberOf } from '../membership/roster.ts'
import { reduceMs, wholeStepMs } from '../run/budgets.ts'
import type { Run } from '../run/run.ts'
import { askDriver } from './ask-driver.ts'
import type { Coordinator } from './coordinator.ts'
import { linksOf, ordersOf, partOf, planJourneys, replan, sends } from './journeys.ts'
import type { Round } from './round.ts'
import { isWorkFault, StepFaults } from './step-faults.ts'
import { watchStep } from './step-watch.ts'
import { SUM } from './work-faults.ts'

/** The result of a step when every stage has its total. */
export interface Gradients {
  /** Mean over the microbatches, nats a token. */
  readonly loss: number
  /** Version of the plan that the step was made by. */
  readonly version: number
  /** Number of microbatches that each stage counted, from stage 0 on. */
  readonly counted: number[]
  /** Norm of each stage's mean gradient before clipping, from stage 0 on. */
  readonly norms: number[]
  /** The longest time that a holder of each stage spent computing, from stage 0 on. */
  readonly busySeconds: number[]
}

export interface StepOptions {
  readonly run: Run
  readonly clock: Clock
  readonly journal: Journal
  /** True for a step that is skipped: no microbatch is driven, and every stage's gradient is zero. */
  readonly isSkipped?: boolean
}

type Prepared = ReadonlyMap<Member, PrepareAnswer>

export class Step {
  readonly #coordinator: Coordinator
  readonly #run: Run
  readonly #clock: Clock
  readonly #journal: Journal
  readonly #fence: Coordinator['fence']
  #journeys: Journey[]
  #version = 0
  /** Reports of microbatches that do not get on, by index. They are driven again. */
  readonly #stuck = new Map<number, ReportQuestion>()
  readonly #faults: StepFaults
  #round: Round | null = null
  /** Members whose answers this round waits for. */
  readonly #waitedFor = new Set<Member>()
  /** A failure that driving a microbatch again does not mend. */
  #failure: ProtocolError | null = null

  constructor(coordinator: Coordinator, { run, clock, journal, isSkipped }: StepOptions) {
    this.#coordinator = coordinator
    this.#run = run
    this.#clock = clock
    this.#journal = journal
    this.#fence = coordinator.fence
    const orders = isSkipped ? [] : ordersOf(run, this.#fence.step)
    const { roster, speeds, faults, fence } = coordinator
    this.#journeys = planJourneys(
      roster,
      orders,
      (id) => speeds.of(id),
      (index, id) => faults.isAvoided(fence.step, index, memberById(roster, id)!.peer),
    )
    this.#faults = new StepFaults({
      coordinator,
      clock,
      microbatches: run.microbatches,
      fail: (error) => this.#fail(error),
    })
  }

  /** @throws ProtocolError if the step has to start over */
  async gradients(): Promise<Gradients> {
    for (;;) {
      const round: Round = this.#coordinator.beginRound((from, report) =>
        this.#hear(round, from, report),
      )
      this.#round = round
      // A report may come in between two rounds.
      for (const report of this.#stuck.values()) round.interrupt(stuckReason(report))
      const over = new AbortController()
      void this.#watch(over.signal)
      try {
        const prepared = await this.#prepare(round)
        this.#check(prepared)
        const norms = await this.#reduce(round, prepared)
        return this.#gradientsOf(prepared, norms)
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error
        over.abort()
        await this.#mend(error)
      } finally {
        over.abort()
      }
    }
  }

  /** Forward and backward: every holder then has the sum of its microbatches' gradients. */
  async #prepare(round: Round): Promise<Prepared> {
    const version = this.#version
    const answers = this.#coordinator.holders.map(async (member) => {
      const { stage, peer } = member
      const { expected, drives } = partOf(this.#journeys, member)
      const alone = this.#isAlone(stage!)
      const question = { ...this.#fence, version, alone, expected }
      const answer = await this.#waitFor(
        member,
        askDriver(round, peer, prepare, question, drives, wholeStepMs(this.#run)),
      )
      return [member, answer] as const
    })
    return new Map(await Promise.all(answers))
  }

  async #waitFor<T>(member: Member, answer: Promise<T>): Promise<T> {
    this.#waitedFor.add(member)
    try {
      return await answer
    } catch (error) {
      const { code, message } = error as ProtocolError
      if (isWorkFault(code)) this.#faults.note(member, SUM, code, message)
      throw error
    } finally {
      this.#waitedFor.delete(member)
    }
  }

  #watch(over: AbortSignal): Promise<void> {
    const watched = {
      waitedFor: this.#waitedFor,
      links: () => linksOf(this.#journeys, this.#coordinator.roster),
      incident: this.#incident,
      fail: (reason: string) => this.#fail(new ProtocolError('UNREACHABLE', reason)),
    }
    return watchStep(this.#coordinator, this.#clock, watched, over)
  }

  /** The step cannot be made in this attempt. */
  #fail(error: ProtocolError): void {
    this.#failure ??= error
    this.#round?.interrupt(error.message)
  }

  /** I1: at every stage each microbatch is in one holder's sum, and in no other's. */
  #check(prepared: Prepared): void {
    const microbatches = this.#journeys.length
    for (let stage = 0; stage <= this.#run.stages; stage++) {
      const counted = [...prepared].flatMap(([member, answer]) =>
        member.stage === stage ? answer.counted : [],
      )
      if (counted.length === microbatches && new Set(counted).size === microbatches) continue
      const indices = counted.sort((a, b) => a - b).join()
      const what = `stage ${stage} counted microbatches ${indices} of ${microbatches}`
      throw new ProtocolError('INTERNAL', what)
    }
  }

  /** The stage has one holder and nobody else needs its total: the holder's sum is the total. */
  #isAlone(stage: number): boolean {
    const { roster } = this.#coordinator
    const others =
      learnersOf(roster, stage).length + understudiesOf(this.#run, roster, stage).length
    return holdersOf(roster, stage).length === 1 && others === 0
  }

  /** Replicas' sums become one total. @returns each stage's gradient norm */
  async #reduce(round: Round, prepared: Prepared): Promise<number[]> {
    const version = this.#version
    const { roster } = this.#coordinator
    const norms: number[] = []
    for (const [{ stage }, { norm }] of prepared) if (norm !== null) norms[stage!] = norm
    const add = async (member: Member, stage = member.stage!) => {
      const holders = holdersOf(roster, stage)
      const owners = holders.slice(0, OWNERS_MAX).map(({ id }) => id)
      const contributors = holders
        .filter((holder) => (prepared.get(holder)?.counted.length ?? 0) > 0)
        .map(({ id }) => id)
      const question = { ...this.#fence, version, stage, owners, contributors }
      const asked = round.ask(member.peer, reduce, question, reduceMs(this.#run, stage))
      const { norm } = await this.#waitFor(member, asked)
      norms[stage] ??= norm
    }
    const stages = this.#stages
    // A new replica that does not get the total cannot carry the commit out, and is lost by that.
    const learners = stages.flatMap((stage) =>
      learnersOf(roster, stage).map((learner) => add(learner)),
    )
    // An understudy that does not get the total starts again.
    const unlearnt: number[] = []
    const understudies = stages.flatMap((stage) =>
      understudiesOf(this.#run, roster, stage).map((understudy) =>
        add(understudy, stage).catch((error: ProtocolError) => {
          if (error.code !== 'STALE') unlearnt.push(stage)
        }),
      ),
    )
    // A holder that is alone has given its norm already.
    const holders = [...prepared].filter(([, { norm }]) => norm === null)
    await Promise.all([
      Promise.all(holders.map(([holder]) => add(holder))),
      Promise.allSettled(learners),
      Promise.all(understudies),
    ])
    await this.#expectHeld(unlearnt)
    return norms
  }

  /**
   * A holder may be lost after it has said that it has the total, and before its understudy has it. If the step were made
   * all the same, the stage could not come back as of that step. @throws ProtocolError PEER_LOST
   */
  async #expectHeld(stages: readonly number[]): Promise<void> {
    if (stages.length === 0) return
    const { roster, health } = this.#coordinator
    const looked = stages.map((stage) => {
      const reason = `the understudy of stage ${stage} did not get the total`
      return holdersOf(roster, stage).map(({ peer }) => health.suspect(peer, reason))
    })
    await Promise.all(looked.flat())
    const lost = new Set((await health.losses()).map(({ id }) => id))
    for (const stage of stages) {
      if (!holdersOf(roster, stage).every(({ id }) => lost.has(id))) continue
      throw new ProtocolError(
        'PEER_LOST',
        `stage ${stage} is lost, and no other member has its total of this step`,
      )
    }
  }

  /** What the holders' answers come to, and how fast the holders were. */
  #gradientsOf(prepared: Prepared, norms: number[]): Gradients {
    const answers = [...prepared]
    for (const [{ id }, { counted, busySeconds }] of answers) {
      this.#coordinator.speeds.note(id, counted.length, busySeconds)
    }
    const losses = answers.flatMap(([, answer]) => answer.losses)
    const byStage = this.#stages.map((stage) =>
      answers.filter(([member]) => member.stage === stage).map(([, answer]) => answer),
    )
    return {
      loss: losses.reduce((sum, { loss }) => sum + loss, 0) / losses.length,
      version: this.#version,
      counted: byStage.map((each) => each.reduce((sum, { counted }) => sum + counted.length, 0)),
      norms,
      busySeconds: byStage.map((each) => Math.max(...each.map(({ busySeconds }) => busySeconds))),
    }
  }

  get #stages(): number[] {
    return Array.from({ length: this.#run.stages + 1 }, (_, stage) => stage)
  }

  /** A holder says that a microbatch does not get on. */
  #hear(round: Round, from: PeerId, report: ReportQuestion): void {
    const journey = this.#journeys[report.index]
    // The report is about an attempt that was given up already.
    if (journey?.attempt !== report.attempt) return
    const { roster } = this.#coordinator
    const { index, code, reason, to } = report
    const sender = memberOf(roster, from)
    if (sender === undefined || !sends(journey, sender.id, to)) return
    const receiver = to === null ? undefined : memberById(roster, to)
    if (isWorkFault(code)) {
      // The receiver refuses what the sender computed wrongly. An INTERNAL error is the receiver's own.
      const producer = code === 'INTERNAL' && receiver ? receiver : sender
      this.#faults.note(producer, index, code, reason)
      return
    }
    const mayPass = isTransient(code)
    if (!mayPass || journey.attempt + 1 >= JOURNEY_ATTEMPTS) {
      this.#failure ??= new ProtocolError(mayPass ? 'PEER_LOST' : code, `${from}: ${reason}`)
    }
    this.#stuck.set(index, report)
    const looked = receiver ? this.#lookAt(from, receiver, report) : Promise.resolve()
    void looked.then(() => round.interrupt(stuckReason(report)))
  }

  /** Finds out whether the receiver is lost, or its link to the sender is broken. */
  async #lookAt(sender: PeerId, receiver: Member, report: ReportQuestion): Promise<void> {
    const { links } = this.#coordinator
    const broken = await links.heard(sender, receiver, report, this.#incident)
    if (broken !== null) this.#failure ??= new ProtocolError('UNREACHABLE', broken)
  }

  /** A question failed, and nobody is lost: two replicas may not reach each other. @throws ProtocolError if so */
  async #tryLinks({ code }: ProtocolError): Promise<void> {
    const { links, signal, roster } = this.#coordinator
    if (!isLinkFailure(code) || signal.aborted) return
    const broken = await links.tryAll(linksOf(this.#journeys, roster), this.#incident)
    if (broken !== null) throw new ProtocolError('UNREACHABLE', broken)
  }

  /** Names the present version of the plan among all steps. */
  get #incident(): string {
    const { step, epoch } = this.#fence
    return `${epoch}/${step}/${this.#version}`
  }

  /** Makes the next version of the plan, for a roster without the lost members. @throws the error if there is none */
  async #mend(error: ProtocolError): Promise<void> {
    const { health, speeds } = this.#coordinator
    const fault = await this.#faults.judged
    if (fault !== null) throw fault
    const lost = await health.losses()
    if (this.#failure !== null) throw this.#failure
    const lostHolders = lost.filter(isHolder)
    if (lostHolders.length === 0 && this.#stuck.size === 0) {
      await this.#tryLinks(error)
      throw error
    }
    if (lostHolders.length > 0) {
      for (const { stage } of lostHolders) {
        const holders = holdersOf(this.#coordinator.roster, stage!)
        if (holders.every((holder) => lost.includes(holder))) throw error
      }
      await this.#coordinator.amend(error.message.slice(0, 256))
    }
    const mended = replan(this.#journeys, this.#coordinator.roster, (id) => speeds.of(id))
    if (mended === null) throw error
    const again = mended.map((journey, i) => {
      const before = this.#journeys[i]!
      const isStuck = this.#stuck.has(journey.index) && journey.attempt === before.attempt
      return isStuck ? { ...journey, attempt: journey.attempt + 1 } : journey
    })
    const driven = again.filter((journey, i) => journey.attempt !== this.#journeys[i]!.attempt)
    this.#stuck.clear()
    this.#journeys = again
    this.#version++
    const { step, epoch } = this.#fence
    const indices = driven.map(({ index }) => index)
    this.#journal.write({ type: 'amended', step, epoch, driven: indices, reason: error.message })
  }
}

function stuckReason({ index, reason }: ReportQuestion): string {
  return `microbatch ${index} is stuck: ${reason}`
}

/** Failures of a link, or of a peer that is lost or was late to hear of the roster. A second attempt may succeed. */
const TRANSIENT: ReadonlySet<ProtocolErrorCode> = new Set([
  'TIMEOUT',
  'PEER_LOST',
  'UNREACHABLE',
  'CORRUPT',
  'BUSY',
  'STALE',
  'NOT_MEMBER',
])

/** True if a peer or a link failed, not the work. */
export function isTransient(code: ProtocolErrorCode): boolean {
  return TRANSIENT.has(code)
}
