/**
 * Makes the copies that recovery strategies need. After a commit that is due, or when a keeper has no copy, the first
 * holder of a stage encodes a copy of its state and sends it to keepers, while training continues. The copy is of one step: it is encoded piece by piece between
 * other work, and the remaining pieces are encoded before the next update writes to the state.
 */
import type { Clock } from '../../protocols/clock.ts'
import { pushCopy } from '../../protocols/copies.ts'
import type { Member, Roster } from '../../protocols/membership.ts'
import type { Network } from '../../protocols/network.ts'
import type { Journal } from '../base/journal.ts'
import { TIMEOUTS } from '../base/limits.ts'
import { holdersOf, isFresh } from '../membership/roster.ts'
import { encodeState, splitCopy } from '../recovery/copy-form.ts'
import { rowsOf } from '../recovery/index.ts'
import type { CopyRule } from '../recovery/strategy.ts'
import type { Run } from '../run/run.ts'
import type { HeldStage } from '../run/stage-state.ts'
import { type Given, givenAfter, receiversOf } from './receivers.ts'
import { parityInSlices } from './slices.ts'

export interface CopyingOptions {
  readonly run: Run
  readonly runId: string
  readonly network: Network
  readonly clock: Clock
  readonly journal: Journal
}

/** The copies of the stage for one strategy. */
interface Upkeep {
  readonly strategy: string
  readonly rule: CopyRule
  /** True while a copy is encoded or sent. */
  busy: boolean
  /** What each keeper got, by member id. */
  given: ReadonlyMap<number, Given>
}

/** A copy on its way to keepers. */
interface Task {
  readonly upkeep: Upkeep
  readonly held: HeldStage
  readonly step: number
  /** All keepers, in the order of the shards. */
  readonly keepers: readonly Member[]
  readonly receivers: readonly Member[]
  readonly signal: AbortSignal
}

export class Copying {
  readonly #options: CopyingOptions
  readonly #upkeeps: readonly Upkeep[]
  /** Each completes an encoding that reads the live state. */
  readonly #encoding = new Set<() => void>()
  /** Aborted when the stage is given up. */
  #over = new AbortController()
  #committed = 0

  constructor(options: CopyingOptions) {
    const { recovery, stages } = options.run
    this.#options = options
    this.#upkeeps = rowsOf(recovery.policy).flatMap(({ name, copies }) =>
      copies === undefined
        ? []
        : [
            {
              strategy: name,
              rule: copies(recovery, stages),
              busy: false,
              given: new Map<number, Given>(),
            },
          ],
    )
  }

  /**
   * This holder follows a new roster: begins the copies that are due, and does not wait for them. Must be called between
   * two updates.
   */
  follow(held: HeldStage, roster: Roster, own: Member): void {
    const { index } = held
    const isNew = roster.committed !== this.#committed
    this.#committed = roster.committed
    // One replica is enough, because all have the same bits. Before the first step there is nothing to keep.
    if (isFresh(roster) || holdersOf(roster, index)[0]?.id !== own.id) return
    for (const upkeep of this.#upkeeps) {
      const { rule, busy, given } = upkeep
      if (busy || !rule.applies(index)) continue
      const keepers = rule.keepers(roster, index).filter(({ id }) => id !== own.id)
      const receivers = receiversOf(
        rule,
        { stage: index, step: roster.committed, isNew },
        keepers,
        given,
      )
      if (receivers.length === 0) continue
      upkeep.busy = true
      const { signal } = this.#over
      const task = { upkeep, held, step: roster.committed, keepers, receivers, signal }
      void this.#copy(task).catch((error: Error) => {
        if (signal.aborted) return
        upkeep.busy = false
        const message = `no ${upkeep.strategy} copy of step ${roster.committed}: ${error.message}`
        this.#options.journal.write({ type: 'notice', message })
      })
    }
  }

  /** Must be called before the stage's state changes. */
  beforeUpdate(): void {
    for (const finish of [...this.#encoding]) finish()
  }

  /** The stage was given up: ends all copies. */
  reset(): void {
    this.#over.abort(new Error('the stage was given up'))
    this.#over = new AbortController()
    for (const upkeep of this.#upkeeps) {
      Object.assign(upkeep, { busy: false, given: new Map<number, Given>() })
    }
  }

  async #copy({ upkeep, held, step, keepers, receivers, signal }: Task): Promise<void> {
    const { runId, network, clock, journal } = this.#options
    const { strategy, rule } = upkeep
    const stage = held.index
    const begun = clock.now()
    const { facts } = held
    const bytes = await this.#encode(held, rule)
    if (signal.aborted) return
    const { data, parity } = rule.shards
    const whole = splitCopy(bytes, data)
    const pause = () => clock.sleep(0)
    const shards =
      parity === 0 ? whole : [...whole, ...(await parityInSlices(whole, parity, pause))]
    if (signal.aborted) return
    const options = { chunkTimeoutMs: TIMEOUTS.chunkMs, signal }
    const pushes = receivers.map((keeper) => {
      const shard = shards.length === 1 ? 0 : keepers.indexOf(keeper)
      const name = { run: runId, strategy, stage, step, shard }
      return pushCopy(network, keeper.peer, { ...name, ...facts }, shards[shard]!, options)
    })
    const results = await Promise.allSettled(pushes)
    if (signal.aborted) return
    upkeep.busy = false
    const took = receivers.filter((_, i) => results[i]!.status === 'fulfilled')
    upkeep.given = givenAfter(upkeep.given, step, keepers, receivers, took)
    journal.write({
      type: 'copied',
      strategy,
      stage,
      step,
      to: took.map(({ peer }) => peer),
      failed: receivers.length - took.length,
      bytes: took.length * shards[0]!.length,
      seconds: (clock.now() - begun) / 1000,
    })
    this.#warnIfLate(upkeep, stage, step)
  }

  /** A copy that takes too long to arrive is of no use when the stage is lost. */
  #warnIfLate({ strategy, rule }: Upkeep, stage: number, step: number): void {
    const [age, most] = [this.#committed - step, rule.maxAge(stage)]
    if (age <= most) return
    const every = `recovery.${strategy}.${stage === 0 ? 'endsEverySteps' : 'everySteps'}`
    this.#options.journal.write({
      type: 'notice',
      message: `the ${strategy} copy of stage ${stage} took ${age} steps to reach its keepers, so that it counts as old (more than ${most}): set ${every} higher in run.json, or use a faster link`,
    })
  }

  /** Encodes the state, and lets other work run after each piece. */
  async #encode(held: HeldStage, { form }: CopyRule): Promise<Uint8Array> {
    const { weights, moments } = held.stage
    const pieces = encodeState([weights, moments.firstMoment, moments.secondMoment], form)
    let last = pieces.next()
    let failure: Error | null = null
    const finish = () => {
      try {
        while (!last.done) last = pieces.next()
      } catch (error) {
        // A state that cannot be encoded costs the copy, not the update that comes next.
        failure = error as Error
      }
    }
    this.#encoding.add(finish)
    try {
      while (!last.done && failure === null) {
        await this.#options.clock.sleep(0)
        if (!last.done && failure === null) last = pieces.next()
      }
    } finally {
      this.#encoding.delete(finish)
    }
    if (failure !== null) throw failure
    return last.value!
  }
}
