/**
 * The forward and backward passes of one step. Each holder does one thing at a time, in the order of the node's inbox:
 * backward before forward before new microbatches, the oldest first. The rules are those of `src/holder/pipeline.ts`. A
 * piece of work is one event and a message is another; there are no tensors and no promises.
 */
import type { Journey } from '../../../protocols/step.ts'
import { microbatchesInFlight } from '../../../src/run/run.ts'
import type { ScaleSetting } from './setting.ts'
import { Gate, type Timeline } from './timeline.ts'
import type { Peer, Wires } from './wires.ts'

export interface RoundOptions {
  readonly timeline: Timeline
  readonly wires: Wires
  readonly setting: Pick<ScaleSetting, 'run' | 'costMs' | 'sizes'>
  readonly coordinator: Peer
  /** Undefined for a member that is gone. */
  peerOf(id: number): Peer | undefined
  /** True if the stage's only holder has no sums to reduce. */
  isAlone(stage: number): boolean
  /** Called with the bytes of each message to another stage. */
  sent(bytes: number): void
}

/** Bytes of a header without its route, and of each stop of the route. */
const HEAD_BYTES = 420
const STOP_BYTES = 22

interface Work {
  readonly index: number
  readonly attempt: number
  /** Position on the route: -1 at the driver before the first stage, the route's length at the loss. */
  readonly position: number
  /** 0: the gradient on its way back; 1: forward; 2: the driver has not started the microbatch. */
  readonly urgency: 0 | 1 | 2
}

/** Work of one holder in the step. */
interface Part {
  readonly id: number
  readonly peer: Peer
  readonly stage: number
  readonly inbox: Work[]
  readonly counted: Set<number>
  /** Indices of microbatches that this holder drives and has not begun. */
  readonly unstarted: number[]
  readonly driving: Set<number>
  working: boolean
  busyMs: number
  /** Number of microbatches that this holder has not counted yet. */
  missing: number
}

/** Result of a holder's work in the step. */
export interface Share {
  readonly id: number
  readonly stage: number
  readonly counted: number
  readonly busySeconds: number
}

export class Round {
  readonly #options: RoundOptions
  readonly #parts = new Map<number, Part>()
  readonly #inFlight: number
  readonly #messageBytes: number
  #journeys: readonly Journey[] = []
  #missing = 0
  #answeredAt = 0
  #over = false
  #prepared = new Gate()

  constructor(options: RoundOptions) {
    const { run, sizes } = options.setting
    this.#options = options
    this.#inFlight = microbatchesInFlight(run)
    this.#messageBytes = sizes.activationBytes + HEAD_BYTES + STOP_BYTES * run.stages
  }

  /** Opens when the coordinator has every holder's answer to its last plan. */
  get prepared(): Gate {
    return this.#prepared
  }

  get shares(): Share[] {
    return [...this.#parts.values()].map(({ id, stage, counted, busyMs }) => ({
      id,
      stage,
      counted: counted.size,
      busySeconds: busyMs / 1000,
    }))
  }

  /**
   * Tells the holders the plan, or a mended plan in which microbatches are driven again under a higher attempt.
   * @param slowestMs time until the holder farthest from the coordinator has answered
   */
  tell(journeys: readonly Journey[], slowestMs: number): void {
    const { timeline, wires, coordinator } = this.#options
    const before = this.#journeys
    this.#journeys = journeys
    this.#prepared = new Gate()
    for (const part of this.#parts.values()) part.missing = 0
    this.#missing = 0
    for (const { index, driver, route } of journeys) {
      this.#expect(driver, 0, index)
      for (const { stage, id } of route) this.#expect(id, stage, index)
    }
    this.#answeredAt = timeline.now + slowestMs
    for (const part of this.#parts.values()) {
      if (part.missing === 0 && part.counted.size > 0) this.#answer(part)
    }
    const again = journeys.filter(({ index, attempt }) => attempt !== before[index]?.attempt)
    for (const [id, own] of Map.groupBy(again, ({ driver }) => driver)) {
      const part = this.#parts.get(id)!
      timeline.schedule(wires.latencyMs(coordinator, part.peer), () => {
        for (const { index, attempt } of own) this.#start(part, index, attempt)
        this.#drive(part)
      })
    }
    if (this.#missing === 0) this.#open()
  }

  /** Drops all work under way. */
  end(): void {
    this.#over = true
  }

  #expect(id: number, stage: number, index: number): void {
    let part = this.#parts.get(id)
    if (part === undefined) {
      const peer = this.#options.peerOf(id)
      // The member is lost. The plan is changed as soon as the loss is noticed.
      if (peer === undefined) {
        this.#missing++
        return
      }
      part = {
        id,
        peer,
        stage,
        inbox: [],
        counted: new Set(),
        unstarted: [],
        driving: new Set(),
        working: false,
        busyMs: 0,
        missing: 0,
      }
      this.#parts.set(id, part)
    }
    if (part.counted.has(index)) return
    part.missing++
    this.#missing++
  }

  #start(part: Part, index: number, attempt: number): void {
    if (this.#journeys[index]!.attempt !== attempt) return
    // A microbatch that is driven again keeps its place among those under way.
    if (part.driving.has(index)) this.#put(part, { index, attempt, position: -1, urgency: 2 })
    else if (!part.unstarted.includes(index)) part.unstarted.push(index)
  }

  #drive(part: Part): void {
    while (part.driving.size < this.#inFlight) {
      const index = part.unstarted.shift()
      if (index === undefined) return
      part.driving.add(index)
      const { attempt } = this.#journeys[index]!
      this.#put(part, { index, attempt, position: -1, urgency: 2 })
    }
  }

  #put(part: Part, work: Work): void {
    if (this.#isGone(part)) return
    part.inbox.push(work)
    if (!part.working) this.#next(part)
  }

  #isGone(part: Part): boolean {
    return this.#over || !part.peer.alive
  }

  #isLatest({ index, attempt }: Work): boolean {
    return this.#journeys[index]!.attempt === attempt
  }

  #next(part: Part): void {
    const { inbox } = part
    let best = -1
    for (let i = 0; i < inbox.length; i++) {
      const work = inbox[i]!
      const first = inbox[best]
      const isBefore =
        first === undefined ||
        work.urgency < first.urgency ||
        (work.urgency === first.urgency && work.index < first.index)
      if (isBefore) best = i
    }
    if (best < 0) return
    const work = inbox[best]!
    inbox[best] = inbox.at(-1)!
    inbox.pop()
    if (!this.#isLatest(work)) {
      this.#next(part)
      return
    }
    part.working = true
    const ms = this.#costMs(part, work) * part.peer.slowness
    const { timeline } = this.#options
    const begun = timeline.now
    timeline.schedule(ms, () => {
      part.working = false
      if (this.#isGone(part)) return
      part.busyMs += timeline.now - begun
      if (this.#isLatest(work)) this.#done(part, work)
      if (!part.working) this.#next(part)
    })
  }

  #costMs({ stage }: Part, { urgency, position }: Work): number {
    const { costMs } = this.#options.setting
    if (stage !== 0) return urgency === 0 ? costMs.backward : costMs.forwardKeeping
    if (urgency === 2) return costMs.embed
    return position < 0 ? costMs.embedBackward : costMs.lossAndGradient
  }

  #done(part: Part, { index, attempt, position, urgency }: Work): void {
    const turns = urgency === 1 && part.stage === 0
    if (urgency === 0 && position < 0) {
      this.#count(part, index)
      part.driving.delete(index)
      this.#drive(part)
      return
    }
    if (urgency === 0) this.#count(part, index)
    const isHomeward = urgency === 0 || turns
    const next = position + (isHomeward ? -1 : 1)
    const { route, driver } = this.#journeys[index]!
    const receiver = this.#parts.get(route[next]?.id ?? driver)
    if (receiver === undefined) return
    const { wires, sent } = this.#options
    const work: Work = { index, attempt, position: next, urgency: isHomeward ? 0 : 1 }
    sent(this.#messageBytes)
    wires.send(part.peer, receiver.peer, this.#messageBytes, () => {
      if (this.#isLatest(work)) this.#put(receiver, work)
    })
  }

  #count(part: Part, index: number): void {
    if (part.counted.has(index)) return
    part.counted.add(index)
    part.missing--
    this.#missing--
    if (part.missing === 0) this.#answer(part)
    if (this.#missing === 0) this.#open()
  }

  #answer({ peer, stage }: Part): void {
    const { timeline, wires, coordinator, setting, isAlone } = this.#options
    const normMs = isAlone(stage) ? setting.costMs.gradientNorm * peer.slowness : 0
    const at = timeline.now + normMs + wires.latencyMs(peer, coordinator)
    this.#answeredAt = Math.max(this.#answeredAt, at)
  }

  #open(): void {
    const { timeline } = this.#options
    const gate = this.#prepared
    timeline.schedule(this.#answeredAt - timeline.now, () => {
      // Another plan may have replaced this one.
      if (gate === this.#prepared && this.#missing === 0) gate.open()
    })
  }
}
