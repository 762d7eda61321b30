/** Gathers what holders failed on in one attempt to make a step, and decides whose fault it is. */
import type { Clock } from '../../protocols/clock.ts'
import { ProtocolError, type ProtocolErrorCode } from '../../protocols/errors.ts'
import type { Member } from '../../protocols/membership.ts'
import { TIMEOUTS } from '../base/limits.ts'
import { holdersOf, memberOf } from '../membership/roster.ts'
import { BatchFault } from './batch-fault.ts'
import type { Coordinator } from './coordinator.ts'
import { type Index, SUM, type WorkFault } from './work-faults.ts'

/** Failures of the work itself, not of a link or a peer that is gone. */
const WORK_FAULTS: ReadonlySet<string> = new Set(['NON_FINITE', 'INTERNAL', 'WRONG_SHAPE'])

/** True if the code says that a member computed wrongly, or not at all. */
export function isWorkFault(code: string): boolean {
  return WORK_FAULTS.has(code)
}

export interface StepFaultsOptions {
  readonly coordinator: Coordinator
  readonly clock: Clock
  /** Number of microbatches of the step. */
  readonly microbatches: number
  /** Gives the step up. */
  fail(error: ProtocolError): void
}

export class StepFaults {
  readonly #options: StepFaultsOptions
  readonly #step: number
  readonly #faults: (WorkFault & { readonly code: ProtocolErrorCode })[] = []
  #judged: Promise<ProtocolError> | null = null

  constructor(options: StepFaultsOptions) {
    this.#options = options
    this.#step = options.coordinator.fence.step
  }

  /** Resolves with the error of the step, once all faults are known; null if there was no fault. */
  get judged(): Promise<ProtocolError> | null {
    return this.#judged
  }

  /** A member failed on a microbatch, though its inputs were sound. */
  note({ peer }: Member, index: Index, code: ProtocolErrorCode, reason: string): void {
    const isKnown = this.#faults.some((each) => each.index === index && each.producer === peer)
    if (!isKnown) this.#faults.push({ step: this.#step, index, producer: peer, code, reason })
    this.#judged ??= this.#judge().then((error) => {
      this.#options.fail(error)
      return error
    })
  }

  async #judge(): Promise<ProtocolError> {
    const { coordinator, clock } = this.#options
    const { faults, teller, signal, stepMs } = coordinator
    // Meanwhile the other microbatches of the step pass the same holder.
    const gatherMs = Math.max(TIMEOUTS.faultsGatherMs, stepMs ?? 0)
    await clock.sleep(Math.min(gatherMs, TIMEOUTS.faultsGatherMaxMs), signal).catch(() => {})
    if (signal.aborted) return new ProtocolError('STALE', 'another member coordinates')
    faults.note(this.#faults)
    const verdicts = this.#faults.map((fault) => ({ fault, verdict: this.#verdictOf(fault) }))
    const first = this.#faults[0]!
    const where = `step ${this.#step}, ${nameOf(first.index)}: ${first.producer}: ${first.reason}`
    const wrong = verdicts.flatMap(({ fault, verdict }) => (verdict === 'data' ? fault.index : []))
    if (wrong.length > 0) return this.#batchFault(first.code, wrong, where)
    const guilty = new Map(
      verdicts.flatMap(({ fault, verdict }) =>
        verdict === 'producer' ? [[fault.producer, fault.reason] as const] : [],
      ),
    )
    for (const [peer, reason] of guilty) {
      const failure = await this.#letGo(peer, reason)
      if (failure !== null) return new ProtocolError(first.code, `${failure} (${where})`)
    }
    const isElsewhere = verdicts.some(({ verdict }) => verdict === 'elsewhere')
    const next = isElsewhere ? 'another holder computes it now' : 'it is computed once more'
    if (guilty.size === 0) teller.tell(`${where}; ${next}`)
    return new ProtocolError('PEER_LOST', where)
  }

  #verdictOf(fault: WorkFault) {
    const { coordinator, microbatches } = this.#options
    const { roster, health, faults } = coordinator
    const stage = memberOf(roster, fault.producer)?.stage ?? null
    const holders = stage === null ? [] : holdersOf(roster, stage)
    const peers = holders.flatMap(({ id, peer }) => (health.lost.has(id) ? [] : peer))
    return faults.judge(fault, peers, microbatches)
  }

  #batchFault(code: ProtocolErrorCode, indices: readonly Index[], where: string): BatchFault {
    const { faults } = this.#options.coordinator
    const producers = faults.producersOf(indices)
    faults.acquit(indices)
    const microbatches = indices.filter((index) => index !== SUM)
    const who = `${producers.length} sound holder${producers.length > 1 ? 's' : ''}`
    return new BatchFault(code, `${who} failed on it: ${where}`, microbatches, producers)
  }

  /** @returns why the peer cannot be replaced; null if it is let go */
  async #letGo(peer: string, reason: string): Promise<string | null> {
    const { coordinator } = this.#options
    const member = memberOf(coordinator.roster, peer)
    if (member === undefined || member.stage === null) return null
    try {
      await coordinator.removal.remove(member, reason)
      return null
    } catch (error) {
      return (error as Error).message
    }
  }
}

function nameOf(index: Index): string {
  return index === SUM ? 'the sum of its gradients' : `microbatch ${index}`
}
