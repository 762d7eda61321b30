/**
 * Keeps the state of the next stage beside the active one (strategy `redundant`). The understudy gets the total gradient
 * of each step as a replica does, and makes the same update. It always has the bits of the last committed step. It
 * computes no microbatch, and no step fails because of it: if it misses a step, it fetches the state again.
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
import type { RestoredState } from '../run/stage-state.ts'
import type { ReplicaSync } from './replica-sync.ts'

export interface UnderstudyOptions {
  readonly run: Run
  readonly runId: string
  readonly network: Network
  readonly clock: Clock
  readonly journal: Journal
  roster(): Roster | null
  /** Builds a replica of the stage, with initial weights. */
  build(stage: number, signal: AbortSignal): Promise<ReplicaSync>
}

export class Understudy {
  readonly #options: UnderstudyOptions
  /** The stage whose state this peer is to keep; null if it is to keep none. */
  #stage: number | null = null
  /** Aborted when the replica is given up; null if none is built or being built. */
  #attempt: AbortController | null = null
  #sync: ReplicaSync | null = null
  /** The last committed step that came here. */
  #committed = 0
  /** The committed step when the replica began to get the totals. */
  #begun = 0
  /** The earliest step whose state the totals that came here can bring up to date. */
  #first = 0
  /** True if the replica has the same state as the stage's holders. */
  #isWhole = false
  /** Failed attempts in succession. */
  #failures = 0
  /** The step from which another attempt may begin. */
  #notBefore = 0
  /** Seconds that it took to get the total of the last step. */
  #seconds = 0

  constructor(options: UnderstudyOptions) {
    this.#options = options
  }

  /** The state, described as a copy of the last committed step; empty if it is not whole. */
  get copies(): CopyName[] {
    if (this.#stage === null || !this.#isWhole) return []
    return [{ strategy: 'redundant', stage: this.#stage, step: this.#committed, shard: 0 }]
  }

  /** True if the state of the stage after `step` is here. */
  has(stage: number, step: number): boolean {
    return this.#isWhole && this.#stage === stage && this.#committed === step
  }

  /** Does what a new roster says. Does not throw. */
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
    if (this.#sync !== null) this.#keepUp(this.#sync, stage, before, roster)
    const { committed } = roster
    const isThere = isOfSeed(roster) || holdersOf(roster, stage).length > 0
    if (this.#attempt === null && isThere && committed >= this.#notBefore) void this.#begin(stage)
  }

  /** Gets the total of a step. @throws ProtocolError */
  async reduce(question: ReduceQuestion): Promise<{ norm: number }> {
    if (this.#sync === null) {
      throw new ProtocolError('STALE', 'this peer has yet to build its second stage')
    }
    const { clock } = this.#options
    const begun = clock.now()
    const answer = await this.#sync.reduce(question)
    this.#seconds = (clock.now() - begun) / 1000
    return answer
  }

  /** A chunk of the state after `step`. @throws ProtocolError STALE if it is not here */
  async donate(step: number, part: StatePart, offset: number, length: number) {
    const donated = await this.#sync?.donate(part, offset, length)
    if (donated !== undefined && this.#isWhole && this.#committed === step) return donated
    throw new ProtocolError('STALE', `the second stage here is not as after step ${step}`)
  }

  /** Frees the state. The understudy may begin again with the next roster. */
  async close(): Promise<void> {
    this.#stage = null
    this.#failures = 0
    this.#notBefore = 0
    await this.#drop()
  }

  #drop(): Promise<void> | undefined {
    const sync = this.#sync
    this.#attempt?.abort(new ProtocolError('STALE', 'this peer is not its understudy any more'))
    this.#attempt = null
    this.#sync = null
    this.#isWhole = false
    return sync?.close()
  }

  /** Gives the attempt up. Another may begin after 1, 2, 4, 8 and so on steps. */
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

  #keepUp(sync: ReplicaSync, stage: number, before: Roster | null, roster: Roster): void {
    const { runId } = this.#options
    const { committed: step, fenceEpoch: epoch, version } = roster
    const made = step - this.#committed
    const fence = { run: runId, epoch, step }
    if (made === 1 && sync.canCommit(fence, version)) {
      try {
        sync.commit(roster)
      } catch (error) {
        this.#fail((error as Error).message)
        return
      }
      this.#journalCopy(stage, step, sync.replica.stage.sums.byteLength, this.#seconds)
    } else if (made === 1 && !this.#isWhole && step === this.#begun + 1) {
      // The holders may have shared the total of this step before the replica was built.
      sync.missed(step)
      this.#first = step
    } else if (made !== 0) {
      this.#committed = step
      this.#fail(`step ${step} did not come here`)
      return
    }
    this.#committed = step
    sync.open({ ...fence, step: step + 1 })
    if (isOfSeed(roster) || !isAnother(before, roster, stage)) return
    if (!this.#isWhole) {
      this.#fail('its holders are gone')
      return
    }
    this.#isWhole = false
    void this.#attempted(stage, (signal) => this.#compare(stage, signal))
  }

  async #begin(stage: number): Promise<void> {
    this.#attempt = new AbortController()
    await this.#attempted(stage, async (signal) => {
      const { runId, build, roster } = this.#options
      const sync = await build(stage, signal)
      if (signal.aborted) return sync.close()
      // From now on the replica gets the total of every step.
      const known = roster()!
      const { fenceEpoch, committed } = known
      this.#sync = sync
      this.#committed = committed
      this.#begun = committed
      this.#first = committed
      sync.open({ run: runId, epoch: fenceEpoch, step: committed + 1 })
      if (!isOfSeed(known)) return this.#study(sync, signal)
      sync.begin()
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

  /** Fetches the state, which a holder freezes meanwhile. */
  async #study(sync: ReplicaSync, signal: AbortSignal): Promise<void> {
    const { network, clock, runId } = this.#options
    const stage = sync.index
    const begun = clock.now()
    const peer = this.#holderOf(stage)
    const options = { timeoutMs: TIMEOUTS.commitMs, signal }
    let fetched: RestoredState | null = null
    let step = 0
    while (fetched === null) {
      const question = { run: runId, stage, has: false }
      step = (await ask(network, peer, study, question, options)).step
      if (step < this.#first) {
        await clock.sleep(TIMEOUTS.retryMs, signal)
        continue
      }
      fetched = await sync.fetch(step, [peer], signal).catch((error) => {
        if (step < this.#first && !signal.aborted) return null
        throw error
      })
      signal.throwIfAborted()
    }
    this.#isWhole = true
    this.#failures = 0
    this.#journalCopy(stage, step, fetched.bytes, (clock.now() - begun) / 1000)
    await ask(network, peer, studied, { run: runId, stage }, options).catch(() => {})
  }

  /** Asks a new holder of the stage whether its state came from here. If not, the states differ. */
  async #compare(stage: number, signal: AbortSignal): Promise<void> {
    const { network, runId } = this.#options
    const peer = this.#holderOf(stage)
    const options = { timeoutMs: TIMEOUTS.commitMs, signal }
    const { same } = await ask(network, peer, study, { run: runId, stage, has: true }, options)
    if (!same) throw new ProtocolError('STALE', `${peer} has its state from elsewhere`)
    signal.throwIfAborted()
    this.#isWhole = true
  }

  /** Journals what came here, and how long it took. */
  #journalCopy(stage: number, step: number, bytes: number, seconds: number): void {
    const { journal, network } = this.#options
    const facts = { stage, step, to: [network.self], failed: 0, bytes, seconds }
    journal.write({ type: 'copied', strategy: 'redundant', ...facts })
  }

  #holderOf(stage: number): PeerId {
    const roster = this.#options.roster()
    const [holder] = roster === null ? [] : holdersOf(roster, stage)
    if (holder !== undefined) return holder.peer
    throw new ProtocolError('STALE', `no member holds stage ${stage}`)
  }
}

/** True before the first step of a run that started from its seed: every replica has the initial weights then. */
function isOfSeed({ committed, origin }: Roster): boolean {
  return committed === 0 && origin === null
}

/** True if no holder of the stage held or learned it in the roster before, or if that roster is not known. */
function isAnother(before: Roster | null, roster: Roster, stage: number): boolean {
  const holders = holdersOf(roster, stage)
  if (holders.length === 0 || before === null) return false
  if (roster.epoch > before.epoch + 1) return true
  const known = new Set(
    [...holdersOf(before, stage), ...learnersOf(before, stage)].map(({ id }) => id),
  )
  return !holders.some(({ id }) => known.has(id))
}
