/**
 * One step as the coordinator makes it: plan the microbatches' journeys, have the gradients made, bring replicas' sums
 * together. When a holder with replicas is lost in the middle, the plan is mended: only what it had a part in is driven
 * again, and every stage still counts each microbatch once.
 */
import type { Clock } from '../../protocols/clock.ts'
import { ProtocolError, type ProtocolErrorCode } from '../../protocols/errors.ts'
import type { Member } from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'
import {
  type Journey,
  type PrepareAnswer,
  prepare,
  type ReportQuestion,
  reduce,
} from '../../protocols/step.ts'
import type { Journal } from '../base/journal.ts'
import { JOURNEY_ATTEMPTS, STRAGGLER_FACTOR, TIMEOUTS } from '../base/limits.ts'
import { understudiesOf } from '../copies/understudies.ts'
import { holdersOf, learnersOf, memberById } from '../membership/roster.ts'
import type { Run } from '../run/run.ts'
import type { Coordinator } from './coordinator.ts'
import { ordersOf, planJourneys, replan, visits } from './journeys.ts'

/** What every stage has in hand when all are prepared. */
export interface Gradients {
  /** Mean over the microbatches, nats a token. */
  readonly loss: number
  /** Of the plan that made it. */
  readonly version: number
  /** Microbatches that each stage counted, from stage 0 on. */
  readonly counted: number[]
  /** Of each stage's mean gradient before clipping. */
  readonly norms: number[]
  /** The most that a holder of each stage spent computing. */
  readonly busySeconds: number[]
}

export interface StepOptions {
  readonly run: Run
  readonly clock: Clock
  readonly journal: Journal
}

export class Step {
  readonly #swarm: Coordinator
  readonly #run: Run
  readonly #clock: Clock
  readonly #journal: Journal
  readonly #fence: Coordinator['fence']
  #journeys: Journey[]
  #version = 0
  /** Microbatches that a report says do not get on: to be driven again as they are. */
  readonly #stuck = new Map<number, ReportQuestion>()
  /** A failure that driving again does not mend. */
  #failure: ProtocolError | null = null

  constructor(swarm: Coordinator, { run, clock, journal }: StepOptions) {
    this.#swarm = swarm
    this.#run = run
    this.#clock = clock
    this.#journal = journal
    this.#fence = swarm.fence
    const orders = ordersOf(run, this.#fence.step)
    this.#journeys = planJourneys(swarm.roster, orders, (id) => swarm.speeds.of(id))
  }

  /** @throws ProtocolError if the step has to start over */
  async gradients(): Promise<Gradients> {
    for (;;) {
      this.#swarm.beginRound((from, report) => this.#hear(from, report))
      try {
        const prepared = await this.#prepare()
        this.#check(prepared)
        return await this.#reduce(prepared)
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error
        await this.#mend(error)
      }
    }
  }

  /** Forward and backward: every holder then has the sum of its microbatches' gradients. */
  async #prepare(): Promise<Map<Member, PrepareAnswer>> {
    const version = this.#version
    const waitedFor = new Set(this.#swarm.holders)
    const over = new AbortController()
    void this.#watch(waitedFor, over.signal)
    const answers = [...waitedFor].map(async (member) => {
      const { id, stage, peer } = member
      const drives = this.#journeys.filter((journey) => stage === 0 && journey.driver === id)
      const visiting = this.#journeys.filter((journey) => visits(journey, member))
      const expected = visiting.map(({ index }) => index)
      const alone = this.#isAlone(stage!)
      const question = { ...this.#fence, version, alone, expected, drives }
      const answer = await this.#swarm.ask(peer, prepare, question, TIMEOUTS.stepMs)
      waitedFor.delete(member)
      return [member, answer] as const
    })
    try {
      return new Map(await Promise.all(answers))
    } finally {
      over.abort()
    }
  }

  /** Looks for who holds the step up, whenever it has taken much longer than the one before. */
  async #watch(waitedFor: ReadonlySet<Member>, over: AbortSignal): Promise<void> {
    const usual = this.#swarm.stepMs ?? TIMEOUTS.stepMs
    const patience = Math.max(TIMEOUTS.stragglerMs, STRAGGLER_FACTOR * usual)
    while (!over.aborted) {
      await this.#clock.sleep(patience, over).catch(() => {})
      if (!over.aborted) await this.#swarm.dropStragglers([...waitedFor], patience)
    }
  }

  /** I1: at every stage each microbatch is in one holder's sum, and in no other's. */
  #check(prepared: ReadonlyMap<Member, PrepareAnswer>): void {
    const { stages, microbatches } = this.#run
    for (let stage = 0; stage <= stages; stage++) {
      const counted = [...prepared].flatMap(([member, answer]) =>
        member.stage === stage ? answer.counted : [],
      )
      if (counted.length === microbatches && new Set(counted).size === microbatches) continue
      const indices = counted.sort((a, b) => a - b).join()
      const what = `stage ${stage} counted microbatches ${indices} of ${microbatches}`
      throw new ProtocolError('INTERNAL', what)
    }
  }

  /** The stage has one holder, and nobody learns it: what it has counted is the total. */
  #isAlone(stage: number): boolean {
    const { roster } = this.#swarm
    const others =
      learnersOf(roster, stage).length + understudiesOf(this.#run, roster, stage).length
    return holdersOf(roster, stage).length === 1 && others === 0
  }

  /** Replicas' sums become one; every holder knows its stage's norm. */
  async #reduce(prepared: ReadonlyMap<Member, PrepareAnswer>): Promise<Gradients> {
    const version = this.#version
    const { roster } = this.#swarm
    const norms: number[] = []
    for (const [{ stage }, { norm }] of prepared) if (norm !== null) norms[stage!] = norm
    const add = async (stage: number, peer: PeerId) => {
      const holders = holdersOf(roster, stage).map((holder) => ({
        id: holder.id,
        counted: prepared.get(holder)?.counted.length ?? 0,
      }))
      const question = { ...this.#fence, version, holders }
      const { norm } = await this.#swarm.ask(peer, reduce, question, TIMEOUTS.reduceMs)
      norms[stage] ??= norm
    }
    const stages = Array.from({ length: this.#run.stages + 1 }, (_, stage) => stage)
    // One that learns and does not get the total cannot carry the commit out, and is lost by that.
    const learners = stages.flatMap((stage) =>
      learnersOf(roster, stage).map(({ peer }) => add(stage, peer)),
    )
    // An understudy that does not get it begins anew.
    const unlearnt: number[] = []
    const understudies = stages.flatMap((stage) =>
      understudiesOf(this.#run, roster, stage).map(({ peer }) =>
        add(stage, peer).catch((error: ProtocolError) => {
          if (error.code !== 'STALE') unlearnt.push(stage)
        }),
      ),
    )
    // Who was alone has told its norm.
    const holders = [...prepared].filter(([, { norm }]) => norm === null)
    await Promise.all([
      Promise.all(holders.map(([{ stage, peer }]) => add(stage!, peer))),
      Promise.allSettled(learners),
      Promise.all(understudies),
    ])
    await this.#expectHeld(unlearnt)
    const answers = [...prepared]
    for (const [{ id }, { counted, busySeconds }] of answers) {
      this.#swarm.speeds.note(id, counted.length, busySeconds)
    }
    const losses = answers.flatMap(([, answer]) => answer.losses)
    const byStage = stages.map((stage) =>
      answers.filter(([member]) => member.stage === stage).map(([, answer]) => answer),
    )
    return {
      loss: losses.reduce((sum, { loss }) => sum + loss, 0) / losses.length,
      version,
      counted: byStage.map((each) => each.reduce((sum, { counted }) => sum + counted.length, 0)),
      norms,
      busySeconds: byStage.map((each) => Math.max(...each.map(({ busySeconds }) => busySeconds))),
    }
  }

  /**
   * A holder may be lost after it has said that it has the total, and before its understudy has it. Were the step made
   * all the same, the stage could not come back as of that step. @throws ProtocolError PEER_LOST
   */
  async #expectHeld(stages: readonly number[]): Promise<void> {
    if (stages.length === 0) return
    const { roster } = this.#swarm
    const looked = stages.map((stage) => {
      const reason = `the understudy of stage ${stage} did not get the total`
      return holdersOf(roster, stage).map(({ peer }) => this.#swarm.suspect(peer, reason))
    })
    await Promise.all(looked.flat())
    const lost = new Set((await this.#swarm.losses()).map(({ id }) => id))
    for (const stage of stages) {
      if (!holdersOf(roster, stage).every(({ id }) => lost.has(id))) continue
      throw new ProtocolError('PEER_LOST', `stage ${stage} is lost, and the step only there`)
    }
  }

  /** A holder says that a microbatch does not get on. */
  #hear(from: PeerId, report: ReportQuestion): void {
    const journey = this.#journeys[report.index]
    // Of an attempt that was given up already.
    if (journey?.attempt !== report.attempt) return
    const { index, code, reason, to } = report
    const receiver = to === null ? undefined : memberById(this.#swarm.roster, to)
    const later = RETRIED.has(code as ProtocolErrorCode)
    if (!later || journey.attempt + 1 >= JOURNEY_ATTEMPTS) {
      this.#failure ??= new ProtocolError(
        later ? 'PEER_LOST' : (code as ProtocolErrorCode),
        `${from}: ${reason}`,
      )
    }
    this.#stuck.set(index, report)
    const look = receiver ? this.#swarm.suspect(receiver.peer, reason) : Promise.resolve()
    void look.then(() => this.#swarm.interrupt(`microbatch ${index} does not get on: ${reason}`))
  }

  /** Makes the next version of the plan, for a roster without those who are lost. @throws if there is none */
  async #mend(error: ProtocolError): Promise<void> {
    const lost = await this.#swarm.losses()
    if (this.#failure !== null) throw this.#failure
    const losing = lost.filter(({ stage, ready }) => stage !== null && ready)
    if (losing.length === 0 && this.#stuck.size === 0) throw error
    const speedOf = (id: number) => this.#swarm.speeds.of(id)
    if (losing.length > 0) {
      for (const { stage } of losing) {
        const left = holdersOf(this.#swarm.roster, stage!).filter((each) => !lost.includes(each))
        if (left.length === 0) throw error
      }
      await this.#swarm.amend(error.message.slice(0, 256))
    }
    const mended = replan(this.#journeys, this.#swarm.roster, speedOf)
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

/** What a second attempt may mend: a link, a peer that is lost or was late to hear of the roster. */
const RETRIED: ReadonlySet<ProtocolErrorCode> = new Set([
  'TIMEOUT',
  'PEER_LOST',
  'UNREACHABLE',
  'CORRUPT',
  'BUSY',
  'STALE',
  'NOT_MEMBER',
])
