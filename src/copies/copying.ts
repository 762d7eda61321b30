/**
 * Makes the copies that recovery strategies need. After a commit, the first holder of a stage encodes a copy of its state
 * and sends it to the keepers, while training continues. The copy is of one step: it is encoded piece by piece between
 * other work, and the remaining pieces are encoded before the next update writes to the state.
 */
import type { Clock } from '../../protocols/clock.ts'
import { pushCopy } from '../../protocols/copies.ts'
import type { Member, Roster } from '../../protocols/membership.ts'
import type { Network } from '../../protocols/network.ts'
import type { Journal } from '../base/journal.ts'
import { TIMEOUTS } from '../base/limits.ts'
import { holdersOf } from '../membership/roster.ts'
import { encodeState, splitCopy } from '../recovery/copy-form.ts'
import { rowsOf } from '../recovery/index.ts'
import type { CopyRule } from '../recovery/strategy.ts'
import type { Run } from '../run/run.ts'
import type { HeldStage } from '../run/stage-state.ts'
import { encodeParity } from './erasure.ts'

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
  /** Ids of the members that keep a copy of this stage. */
  have: ReadonlySet<number>
}

export class Copying {
  readonly #options: CopyingOptions
  readonly #upkeeps: readonly Upkeep[]
  /** Each completes an encoding that reads the live state. */
  readonly #encoding = new Set<() => void>()
  /** Aborted when the stage is given up. */
  #over = new AbortController()

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
              have: new Set<number>(),
            },
          ],
    )
  }

  /** This holder applied a step: begins the copies that are due, and does not wait for them. */
  committed(held: HeldStage, roster: Roster, own: Member): void {
    const { index } = held
    // One replica is enough, because all have the same bits.
    if (holdersOf(roster, index)[0]?.id !== own.id) return
    for (const upkeep of this.#upkeeps) {
      const { rule, busy, have } = upkeep
      if (busy || !rule.applies(index)) continue
      const keepers = rule.keepers(roster, index).filter(({ id }) => id !== own.id)
      const isDue = (roster.committed + index) % rule.everySteps(index) === 0
      if (keepers.length === 0 || !(isDue || keepers.some(({ id }) => !have.has(id)))) continue
      upkeep.busy = true
      const { signal } = this.#over
      void this.#copy(upkeep, held, roster.committed, keepers, signal).catch((error: Error) => {
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
    for (const upkeep of this.#upkeeps) Object.assign(upkeep, { busy: false, have: new Set() })
  }

  async #copy(
    upkeep: Upkeep,
    held: HeldStage,
    step: number,
    keepers: readonly Member[],
    signal: AbortSignal,
  ): Promise<void> {
    const { runId, network, clock, journal } = this.#options
    const { strategy, rule } = upkeep
    const stage = held.index
    const begun = clock.now()
    const { facts } = held
    const bytes = await this.#encode(held, rule)
    if (signal.aborted) return
    const { data, parity } = rule.shards
    const whole = splitCopy(bytes, data)
    const shards = parity === 0 ? whole : [...whole, ...encodeParity(whole, parity)]
    const options = { chunkTimeoutMs: TIMEOUTS.chunkMs, signal }
    const pushes = keepers.map((keeper, i) => {
      const shard = shards.length === 1 ? 0 : i
      const name = { run: runId, strategy, stage, step, shard }
      return pushCopy(network, keeper.peer, { ...name, ...facts }, shards[shard]!, options)
    })
    const results = await Promise.allSettled(pushes)
    if (signal.aborted) return
    upkeep.busy = false
    const took = keepers.filter((_, i) => results[i]!.status === 'fulfilled')
    upkeep.have = new Set(took.map(({ id }) => id))
    journal.write({
      type: 'copied',
      strategy,
      stage,
      step,
      to: took.map(({ peer }) => peer),
      failed: keepers.length - took.length,
      bytes: took.length * shards[0]!.length,
      seconds: (clock.now() - begun) / 1000,
    })
  }

  /** Encodes the state, and lets other work run after each piece. */
  async #encode(held: HeldStage, { form }: CopyRule): Promise<Uint8Array> {
    const { weights, moments } = held.stage
    const pieces = encodeState([weights, moments.firstMoment, moments.secondMoment], form)
    let last = pieces.next()
    const finish = () => {
      while (!last.done) last = pieces.next()
    }
    this.#encoding.add(finish)
    try {
      while (!last.done) {
        await this.#options.clock.sleep(0)
        if (!last.done) last = pieces.next()
      }
    } finally {
      this.#encoding.delete(finish)
    }
    return last.value
  }
}
