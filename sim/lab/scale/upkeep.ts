/**
 * The copies that strategies keep while nothing fails: shards at keepers, an understudy's second state, checkpoints in a
 * store. The rules are the node's (`src/recovery/`). The model tracks when each copy is complete, and which copies a lost
 * peer takes with it. Long because the loss of a peer changes all three kinds of copies.
 */

import type { Member } from '../../../protocols/membership.ts'
import { COPY_GENERATIONS, TIMEOUTS } from '../../../src/base/limits.ts'
import { isSaved } from '../../../src/checkpoint/checkpoint-writer.ts'
import { type Given, givenAfter, receiversOf } from '../../../src/copies/receivers.ts'
import { understudiesOf } from '../../../src/copies/understudies.ts'
import { holdersOf, isFresh } from '../../../src/membership/roster.ts'
import { copyBytes } from '../../../src/recovery/copy-form.ts'
import { rowsOf } from '../../../src/recovery/index.ts'
import type { CopyRule, KeptCopy } from '../../../src/recovery/strategy.ts'
import { checkpointReadMs } from '../../../src/run/budgets.ts'
import type { Swarm } from './swarm.ts'
import type { Peer } from './wires.ts'

/** Parts of a stage's state: its weights and two moments. */
export const STATE_PARTS = 3
const FLOAT_BYTES = 4

/** The copies that the first holder of a stage sends to keepers for one strategy. */
interface Giving {
  readonly holder: Peer
  busy: boolean
  /** What each keeper got, by member id. */
  given: ReadonlyMap<number, Given>
}

interface Kept extends KeptCopy {
  readonly keeper: Peer
}

interface Understudy {
  readonly peer: Peer
  /** True if the understudy has the state after the last step. */
  isWhole: boolean
}

interface Save {
  readonly step: number
  /** Holders that still write their parts. */
  readonly writing: Set<Peer>
  failed: boolean
}

/** Copies, checkpoints and understudies. Long because the loss of a peer changes all three. */
export class Upkeep {
  readonly #swarm: Swarm
  readonly #rules: readonly { readonly strategy: string; readonly rule: CopyRule }[]
  readonly #givings = new Map<string, Giving>()
  #kept: Kept[] = []
  readonly #understudies = new Map<number, Understudy>()
  /** When each holder will have written its part of a checkpoint. */
  readonly #writing = new Map<Peer, number>()
  #saves: Save[] = []
  #saved: number | null = null
  /** Reason why no checkpoint can be used; null if one is available, as far as is known. */
  noCheckpoint: string | null = null

  constructor(swarm: Swarm) {
    const { run } = swarm.setting
    this.#swarm = swarm
    this.#rules = rowsOf(run.recovery.policy).flatMap(({ name: strategy, copies }) =>
      copies === undefined ? [] : [{ strategy, rule: copies(run.recovery, run.stages) }],
    )
  }

  /** The copies that living members keep. */
  get copies(): KeptCopy[] {
    const { committed } = this.#swarm.roster
    const copies = this.#kept
      .filter(({ keeper, step }) => keeper.alive && step <= committed)
      .map(({ keeper: _, ...copy }) => copy)
    for (const [stage, { peer, isWhole }] of this.#understudies) {
      if (!isWhole || !peer.alive) continue
      copies.push({ strategy: 'redundant', stage, step: committed, shard: 0, peer: peer.name })
    }
    return copies
  }

  /** Bytes of the whole state of a stage. */
  stateBytes(stage: number): number {
    return STATE_PARTS * this.weightBytes(stage)
  }

  weightBytes(stage: number): number {
    const { bodyElements, endsElements } = this.#swarm.setting.sizes
    return FLOAT_BYTES * (stage === 0 ? endsElements : bodyElements)
  }

  /** Number of shards that restore a copy of this strategy. */
  shardsNeeded(strategy: string): number {
    return this.#rules.find((each) => each.strategy === strategy)!.rule.shards.data
  }

  /** Bytes of one shard. */
  shardBytes(strategy: string, stage: number): number {
    const { rule } = this.#rules.find((each) => each.strategy === strategy)!
    const elements = this.weightBytes(stage) / FLOAT_BYTES
    return Math.ceil(copyBytes([elements, elements, elements], rule.form) / rule.shards.data)
  }

  /** Removes a lost peer, with all copies that it kept. */
  forget(dead: Peer): void {
    this.#kept = this.#kept.filter(({ keeper }) => keeper !== dead)
    this.#writing.delete(dead)
    for (const save of this.#saves) if (save.writing.has(dead)) save.failed = true
  }

  /** Starts the upkeep that is due after a step. @returns milliseconds that the commit waits */
  committed(): number {
    this.#giveCopies(true)
    this.#dropOld()
    this.#followUnderstudies()
    return this.#save()
  }

  /** Applies a new roster, which may name other keepers and understudies. */
  follow(): void {
    this.#giveCopies(false)
    this.#followUnderstudies()
  }

  #followUnderstudies(): void {
    const { roster, setting } = this.#swarm
    const { run } = setting
    for (let stage = 0; stage <= run.stages; stage++) {
      const [member] = understudiesOf(run, roster, stage)
      const known = this.#understudies.get(stage)
      const peer = member && this.#swarm.peerOf(member.id)
      if (known !== undefined && known.peer === peer && known.peer.alive) continue
      this.#understudies.delete(stage)
      if (peer?.alive) this.#study(stage, peer)
    }
  }

  /** The stage was not rebuilt from its understudy's state, which is therefore outdated. */
  changed(stage: number): void {
    this.#understudies.delete(stage)
    this.follow()
  }

  /** The step of the last whole checkpoint, and how long its verification takes. */
  latest(): { readonly step: number | null; readonly ms: number } {
    const { store, run } = this.#swarm.setting
    let bytes = 0
    for (let stage = 0; stage <= run.stages; stage++) bytes += this.stateBytes(stage)
    this.#saves = []
    if (this.#saved === null) {
      this.noCheckpoint = 'there is no complete checkpoint yet'
      return { step: null, ms: 2 * store.latencyMs }
    }
    const ms = this.storeMs(bytes)
    this.#swarm.bytes.store += bytes
    const mostMs = checkpointReadMs(run)
    if (ms <= mostMs) return { step: this.#saved, ms }
    this.noCheckpoint = `no checkpoint can be read: it takes more than ${mostMs} ms`
    return { step: null, ms: mostMs }
  }

  /** Time to write to the store or read from it. */
  storeMs(bytes: number): number {
    const { latencyMs, mbitPerSecond } = this.#swarm.setting.store
    return 2 * STATE_PARTS * latencyMs + bytes / (mbitPerSecond * 125)
  }

  /** Discards the copies of later steps after a rollback. */
  forgetAfter(step: number): void {
    this.#kept = this.#kept.filter((copy) => copy.step <= step)
    this.#understudies.clear()
    this.#saves = []
    this.#givings.clear()
    this.#writing.clear()
  }

  /** @param isNew true if a step was just committed, false if only the members changed */
  #giveCopies(isNew: boolean): void {
    const { roster, setting } = this.#swarm
    if (isFresh(roster)) return
    for (const { strategy, rule } of this.#rules) {
      for (let stage = 0; stage <= setting.run.stages; stage++) {
        if (rule.applies(stage)) this.#give(strategy, rule, stage, isNew)
      }
    }
  }

  /** Drops old copies that another member has to keep, as `src/copies/keeper.ts` does. */
  #dropOld(): void {
    const { roster } = this.#swarm
    this.#kept = this.#kept.filter(({ strategy, stage, step, peer }) => {
      const { rule } = this.#rules.find((each) => each.strategy === strategy)!
      const isRecent = roster.committed - step <= rule.maxAge(stage)
      return isRecent || rule.keepers(roster, stage).some((keeper) => keeper.peer === peer)
    })
  }

  #give(strategy: string, rule: CopyRule, stage: number, isNew: boolean): void {
    const { roster } = this.#swarm
    const step = roster.committed
    const first = holdersOf(roster, stage)[0]
    const holder = first && this.#swarm.peerOf(first.id)
    if (!holder?.alive) return
    const key = `${strategy}/${stage}`
    const known = this.#givings.get(key)
    const giving: Giving =
      known?.holder === holder ? known : { holder, busy: false, given: new Map<number, Given>() }
    this.#givings.set(key, giving)
    if (giving.busy) return
    const keepers = rule
      .keepers(roster, stage)
      .filter(({ id }) => this.#swarm.peerOf(id) !== holder && this.#swarm.peerOf(id) !== undefined)
    const receivers = receiversOf(rule, { stage, step, isNew }, keepers, giving.given)
    if (receivers.length === 0) return
    giving.busy = true
    const took: Member[] = []
    let pending = receivers.length
    for (const member of receivers) {
      const keeper = this.#swarm.peerOf(member.id)!
      const shard = rule.shards.data + rule.shards.parity === 1 ? 0 : keepers.indexOf(member)
      const bytes = this.shardBytes(strategy, stage)
      this.#swarm.bytes.upkeep += bytes
      this.#swarm.wires.push(holder, keeper, bytes, (complete) => {
        if (this.#givings.get(key) !== giving) return
        if (complete) {
          took.push(member)
          this.#shelve({ strategy, stage, step, shard, peer: keeper.name, keeper })
        }
        pending--
        if (pending > 0) return
        giving.given = givenAfter(giving.given, step, keepers, receivers, took)
        giving.busy = false
      })
    }
  }

  #shelve(copy: Kept): void {
    const same = (other: Kept) =>
      other.strategy === copy.strategy &&
      other.stage === copy.stage &&
      other.shard === copy.shard &&
      other.keeper === copy.keeper
    const earlier = this.#kept.filter(same)
    const outdated = new Set(earlier.slice(0, Math.max(0, earlier.length + 1 - COPY_GENERATIONS)))
    this.#kept = [...this.#kept.filter((each) => !outdated.has(each)), copy]
  }

  #study(stage: number, peer: Peer): void {
    const { roster, setting, timeline, wires } = this.#swarm
    const studying: Understudy = { peer, isWhole: false }
    this.#understudies.set(stage, studying)
    timeline.schedule(setting.costMs.build * peer.slowness, () => {
      const [donor] = this.#swarm.livingHolders(stage)
      if (donor === undefined || this.#understudies.get(stage) !== studying) {
        if (this.#understudies.get(stage) === studying) this.#understudies.delete(stage)
        return
      }
      if (roster.committed === 0) {
        studying.isWhole = true
        return
      }
      const bytes = this.stateBytes(stage)
      this.#swarm.bytes.upkeep += bytes
      wires.fetch([donor], peer, bytes, (complete) => {
        if (this.#understudies.get(stage) !== studying) return
        studying.isWhole = complete
        if (!complete) this.#understudies.delete(stage)
      })
    })
  }

  #save(): number {
    const { roster, setting, timeline } = this.#swarm
    const { run } = setting
    if (!isSaved(run, roster.committed)) return 0
    this.noCheckpoint = null
    const save: Save = { step: roster.committed, writing: new Set(), failed: false }
    this.#saves = [...this.#saves.slice(-1), save]
    let longest = 0
    for (let stage = 0; stage <= run.stages; stage++) {
      const holders = holdersOf(roster, stage)
      const bytes = this.stateBytes(stage) / holders.length
      const ms = this.storeMs(bytes)
      for (const { id } of holders) {
        const peer = this.#swarm.peerOf(id)
        // The holder still writes its part of an earlier checkpoint, or is gone.
        if (!peer?.alive || (this.#writing.get(peer) ?? 0) > timeline.now) {
          save.failed = true
          continue
        }
        longest = Math.max(longest, ms)
        this.#writing.set(peer, timeline.now + ms)
        save.writing.add(peer)
        this.#swarm.bytes.store += bytes
        timeline.schedule(ms, () => {
          if (!peer.alive) return
          save.writing.delete(peer)
          if (save.writing.size === 0) this.#complete(save)
        })
      }
    }
    return run.recovery.checkpoint.mode === 'sync' ? Math.min(longest, TIMEOUTS.syncSaveMs) : 0
  }

  #complete(save: Save): void {
    const { timeline, setting } = this.#swarm
    timeline.schedule(2 * setting.store.latencyMs, () => {
      if (save.failed || !this.#saves.includes(save)) return
      this.#saves = this.#saves.filter(({ step }) => step > save.step)
      this.#saved = save.step
      this.noCheckpoint = null
    })
  }
}
