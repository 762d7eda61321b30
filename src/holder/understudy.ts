/**
 * The state of the next stage, beside the one that this peer holds (strategy `redundant`): it gets the total gradient of
 * each step as a replica does, and makes the same update, so that it always has the bits of the last committed step. It
 * computes no microbatch. No step fails for it: what it misses it fetches anew, while the others go on.
 */
import type { Clock } from '../../protocols/clock.ts'
import type { CopyName } from '../../protocols/copies.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Member, Roster } from '../../protocols/membership.ts'
import type { Network, PeerId } from '../../protocols/network.ts'
import { ask } from '../../protocols/procedure.ts'
import { type ReduceQuestion, studied, study } from '../../protocols/step.ts'
import type { StatePart } from '../../protocols/weights.ts'
import type { Journal } from '../base/journal.ts'
import { TIMEOUTS } from '../base/limits.ts'
import { secondStage, understudiesOf } from '../copies/understudies.ts'
import { holdersOf, learnersOf } from '../membership/roster.ts'
import type { Run } from '../run/run.ts'
import type { ReplicaSync } from './replica-sync.ts'

export interface UnderstudyOptions {
  readonly run: Run
  readonly runId: string
  readonly network: Network
  readonly clock: Clock
  readonly journal: Journal
  roster(): Roster | null
  /** Builds the stage with its initial weights. */
  build(stage: number, signal: AbortSignal): Promise<ReplicaSync>
}

export class Understudy {
  readonly #options: UnderstudyOptions
  #stage: number | null = null
  /** From when the stage is built until it is given up. */
  #attempt: AbortController | null = null
  #learner: ReplicaSync | null = null
  /** The last step that came here. */
  #committed = 0
  /** The state is there, and is the one of those who hold the stage. */
  #isWhole = false
  #failures = 0
  /** It does not begin again before this step. */
  #notBefore = 0
  /** What getting the total of the step in hand took. */
  #seconds = 0

  constructor(options: UnderstudyOptions) {
    this.#options = options
  }

  /** Of the stage that could be had here: as a copy is told of, but always of the last committed step. */
  get copies(): CopyName[] {
    if (this.#stage === null || !this.#isWhole) return []
    return [{ strategy: 'redundant', stage: this.#stage, step: this.#committed, shard: 0 }]
  }

  has(stage: number, step: number): boolean {
    return this.#isWhole && this.#stage === stage && this.#committed === step
  }

  /** Does what a new roster says. Never fails. */
  follow(before: Roster | null, roster: Roster, own: Member): void {
    const { run } = this.#options
    const next = own.ready && own.stage !== null ? secondStage(run, own.stage) : null
    const isFirst = next !== null && understudiesOf(run, roster, next)[0]?.id === own.id
    const stage = isFirst ? next : null
    if (stage !== this.#stage) {
      void this.close().catch(() => {})
      this.#stage = stage
    }
    if (stage === null) return
    if (this.#learner !== null) this.#keepUp(this.#learner, stage, before, roster)
    const { committed } = roster
    const isThere = isOfSeed(roster) || holdersOf(roster, stage).length > 0
    if (this.#attempt === null && isThere && committed >= this.#notBefore) void this.#begin(stage)
  }

  /** Gets the total of a step. */
  async reduce(question: ReduceQuestion): Promise<{ norm: number }> {
    if (this.#learner === null) {
      throw new ProtocolError('STALE', 'this peer has yet to build its second stage')
    }
    const { clock } = this.#options
    const begun = clock.now()
    const answer = await this.#learner.reduce(question)
    this.#seconds = (clock.now() - begun) / 1000
    return answer
  }

  async donate(step: number, part: StatePart, offset: number, length: number) {
    const donated = await this.#learner?.donate(part, offset, length)
    if (donated !== undefined && this.#isWhole && this.#committed === step) return donated
    throw new ProtocolError('STALE', `the second stage here is not as after step ${step}`)
  }

  /** Gives the stage up. */
  async close(): Promise<void> {
    this.#stage = null
    this.#failures = 0
    this.#notBefore = 0
    await this.#drop()
  }

  #drop(): Promise<void> | undefined {
    const learner = this.#learner
    this.#attempt?.abort(new ProtocolError('STALE', 'this peer is no understudy of it any more'))
    this.#attempt = null
    this.#learner = null
    this.#isWhole = false
    return learner?.close()
  }

  /** Begins anew after a while: each time it waits for twice as many steps. */
  #fail(reason: string): void {
    const { journal } = this.#options
    journal.write({
      type: 'notice',
      message: `no understudy of stage ${this.#stage} for now: ${reason}`,
    })
    this.#notBefore = this.#committed + 2 ** this.#failures
    this.#failures++
    void this.#drop()?.catch(() => {})
  }

  #keepUp(learner: ReplicaSync, stage: number, before: Roster | null, roster: Roster): void {
    const { runId } = this.#options
    const { committed: step, fenceEpoch: epoch, version } = roster
    const made = step - this.#committed
    const fence = { run: runId, epoch, step }
    if (made === 1 && learner.canCommit(fence, version)) {
      try {
        learner.commit(roster)
      } catch (error) {
        this.#fail((error as Error).message)
        return
      }
      this.#tell(stage, step, learner.stage.sums.byteLength, this.#seconds)
    } else if (made !== 0) {
      this.#committed = step
      this.#fail(`step ${step} did not come here`)
      return
    }
    this.#committed = step
    learner.open({ ...fence, step: step + 1 })
    if (isOfSeed(roster) || !isAnother(before, roster, stage)) return
    if (!this.#isWhole) {
      this.#fail('who held it is gone')
      return
    }
    this.#isWhole = false
    void this.#attempted(stage, (signal) => this.#compare(stage, signal))
  }

  async #begin(stage: number): Promise<void> {
    this.#attempt = new AbortController()
    await this.#attempted(stage, async (signal) => {
      const { runId, build, roster } = this.#options
      const learner = await build(stage, signal)
      if (signal.aborted) return learner.close()
      // From now on it gets the total of every step.
      const known = roster()!
      const { fenceEpoch, committed } = known
      this.#learner = learner
      this.#committed = committed
      learner.open({ run: runId, epoch: fenceEpoch, step: committed + 1 })
      if (!isOfSeed(known)) return this.#study(learner, committed, signal)
      learner.begin()
      this.#isWhole = true
    })
  }

  async #attempted(stage: number, work: (signal: AbortSignal) => Promise<void>): Promise<void> {
    const { signal } = this.#attempt!
    try {
      await work(signal)
    } catch (error) {
      if (!signal.aborted && this.#stage === stage) this.#fail((error as Error).message)
    }
  }

  /** Fetches the state, which the holder freezes for it. @param first the step before the first that has come here */
  async #study(learner: ReplicaSync, first: number, signal: AbortSignal): Promise<void> {
    const { network, clock, runId } = this.#options
    const stage = learner.index
    const begun = clock.now()
    const peer = this.#holderOf(stage)
    const options = { timeoutMs: TIMEOUTS.commitMs, signal }
    const { step } = await ask(network, peer, study, { run: runId, stage, has: false }, options)
    if (step < first) throw new ProtocolError('STALE', `${peer} has yet to make step ${first}`)
    const { bytes } = await learner.learn(step, [peer], signal)
    signal.throwIfAborted()
    this.#isWhole = true
    this.#failures = 0
    this.#tell(stage, step, bytes, (clock.now() - begun) / 1000)
    await ask(network, peer, studied, { run: runId, stage }, options).catch(() => {})
  }

  /** Others hold the stage now: if they do not have their state from here, it is another. */
  async #compare(stage: number, signal: AbortSignal): Promise<void> {
    const { network, runId } = this.#options
    const peer = this.#holderOf(stage)
    const options = { timeoutMs: TIMEOUTS.commitMs, signal }
    const { same } = await ask(network, peer, study, { run: runId, stage, has: true }, options)
    if (!same) throw new ProtocolError('STALE', `${peer} has its state from elsewhere`)
    signal.throwIfAborted()
    this.#isWhole = true
  }

  /** What came here, and how long that took. */
  #tell(stage: number, step: number, bytes: number, seconds: number): void {
    const { journal, network } = this.#options
    const facts = { stage, step, to: [network.self], failed: 0, bytes, seconds }
    journal.write({ type: 'copied', strategy: 'redundant', ...facts })
  }

  #holderOf(stage: number): PeerId {
    const roster = this.#options.roster()
    const [holder] = roster === null ? [] : holdersOf(roster, stage)
    if (holder !== undefined) return holder.peer
    throw new ProtocolError('STALE', `nobody holds stage ${stage}`)
  }
}

/** Every stage is as the seed makes it, whoever holds it. */
function isOfSeed({ committed, origin }: Roster): boolean {
  return committed === 0 && origin === null
}

/** Nobody who holds the stage had a part in it before, or who did is not known. */
function isAnother(before: Roster | null, roster: Roster, stage: number): boolean {
  const holders = holdersOf(roster, stage)
  if (holders.length === 0 || before === null) return false
  if (roster.epoch > before.epoch + 1) return true
  const known = new Set(
    [...holdersOf(before, stage), ...learnersOf(before, stage)].map(({ id }) => id),
  )
  return !holders.some(({ id }) => known.has(id))
}
