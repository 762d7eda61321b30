/** Takes stages from holders that are at fault themselves: their compute hangs, or gives wrong results. */
import type { Member } from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'
import type { AgreementOptions } from '../membership/agreement.ts'
import { holdersOf, memberOf } from '../membership/roster.ts'
import type { Health } from './health.ts'
import type { RosterChanges } from './roster-changes.ts'
import type { StageRecovery } from './stage-recovery.ts'
import type { Teller } from './teller.ts'
import type { WorkFaults } from './work-faults.ts'

export interface StageRemovalOptions extends AgreementOptions {
  readonly health: Health
  readonly teller: Teller
  readonly faults: WorkFaults
  readonly recovery: StageRecovery
  readonly changes: RosterChanges
}

export class StageRemoval {
  readonly #options: StageRemovalOptions

  constructor(options: StageRemovalOptions) {
    this.#options = options
  }

  /**
   * The holder loses its stage, and is lost. If it is the coordinator, it stays a member. The next change of the roster then
   * takes the stage away.
   * @throws ProtocolError REFUSED if no strategy could bring the stage back
   */
  async remove({ id, peer, stage }: Member, reason: string): Promise<void> {
    const { acceptor, health, teller, faults, recovery, changes } = this.#options
    const { roster } = acceptor
    const isOnly = holdersOf(roster, stage!).every((holder) => holder.id === id)
    if (isOnly) await recovery.check([stage!])
    faults.strike(peer, reason)
    teller.tell(`${peer} loses stage ${stage}: ${reason}`)
    if (id !== roster.coordinator) return health.lose(peer, reason)
    if (isOnly) health.lost.emptied(stage!)
    changes.loseStage()
  }

  /** The step was made. Peers that had failed on it are at fault: another one, or the same one later, has computed it. */
  async stepMade(): Promise<void> {
    for (const [peer, reason] of this.#options.faults.stepMade()) await this.#convict(peer, reason)
  }

  async #convict(peer: PeerId, reason: string): Promise<void> {
    const { acceptor, teller, faults } = this.#options
    const member = memberOf(acceptor.roster, peer)
    const stage = member?.stage ?? null
    const isFirst = faults.strikesOf(peer) === 0
    if (stage === null || (isFirst && holdersOf(acceptor.roster, stage).length === 1)) {
      faults.strike(peer, reason)
      const what = stage === null ? 'and has no stage any more' : 'and keeps its stage this once'
      teller.tell(`${peer} had a fault of its own, ${what}: ${reason}`)
    } else {
      // Without a strategy the only holder keeps its stage: it has computed this step in the end.
      await this.remove(member!, reason).catch(() => {})
    }
  }
}
