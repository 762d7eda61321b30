/** Makes the parts of a coordinator. Each part knows only parts that are made before it, and none knows the coordinator. */
import { CheckpointCoordinator } from '../checkpoint/checkpoint-coordinator.ts'
import type { StageDisk } from '../checkpoint/stage-disk.ts'
import type { Store } from '../checkpoint/store.ts'
import type { Member } from '../holder/member.ts'
import type { AgreementOptions } from '../membership/agreement.ts'
import type { Run } from '../run/run.ts'
import { Admissions } from './admissions.ts'
import { ChangeSignal } from './change-signal.ts'
import { Health } from './health.ts'
import { Links } from './links.ts'
import { Meeting } from './meeting.ts'
import { ReplicaManager } from './replica-manager.ts'
import { Resharding } from './resharding.ts'
import { RosterChanges } from './roster-changes.ts'
import { Speeds } from './speeds.ts'
import { StageRecovery } from './stage-recovery.ts'
import { StageRemoval } from './stage-removal.ts'
import { Teller } from './teller.ts'
import { WorkFaults } from './work-faults.ts'

export interface CoordinatorOptions {
  readonly run: Run
  /** This peer, which the roster names as the coordinator. */
  readonly member: Member
  /** The stage that this peer insists on, or null. */
  readonly wish: number | null
  readonly checkpoints?: Store | null
  /** The states of stages on this peer's disk; null or left out if peers have no disks. */
  readonly disk?: StageDisk | null
  /** How long a stage waits for a peer that could take it, before the run is resharded; for ever if left out. */
  readonly reshardAfterMs?: number | undefined
  /** Addresses at which a peer of the run may be. */
  readonly places?: (() => readonly string[]) | undefined
}

export interface Parts {
  readonly agreement: AgreementOptions
  /** Notified by each part that has something new for the coordinator to act on. */
  readonly changed: ChangeSignal
  readonly speeds: Speeds
  readonly health: Health
  readonly teller: Teller
  readonly faults: WorkFaults
  readonly links: Links
  readonly admissions: Admissions
  readonly replicas: ReplicaManager
  readonly checkpoints: CheckpointCoordinator
  readonly recovery: StageRecovery
  readonly resharding: Resharding
  readonly changes: RosterChanges
  readonly meeting: Meeting
  readonly removal: StageRemoval
}

/**
 * @param signal aborts when this peer does not coordinate any more
 * @param leavingNow called when members must leave that the step in hand may still need
 */
export function createParts(
  options: CoordinatorOptions,
  signal: AbortSignal,
  leavingNow: () => void,
): Parts {
  const { run, member, wish, reshardAfterMs: afterMs = Number.POSITIVE_INFINITY } = options
  const agreement = member.agreement(signal)
  const { acceptor } = agreement
  const changed = new ChangeSignal()
  const speeds = new Speeds()
  const health = new Health({ ...agreement, changed })
  const teller = new Teller(agreement)
  const faults = new WorkFaults(agreement.clock)
  const links = new Links({ ...agreement, run, health, teller, changed })
  const bodyStages = run.stages
  const admissions = new Admissions({
    ...agreement,
    bodyStages,
    wish,
    health,
    faults,
    changed,
    leavingNow,
  })
  const replicas = new ReplicaManager({ ...agreement, run, health, changed })
  const checkpoints = new CheckpointCoordinator({
    ...agreement,
    run,
    checkpoints: options.checkpoints ?? null,
    roster: () => acceptor.roster,
  })
  const recovery = new StageRecovery({ ...agreement, run, health, checkpoints, changed })
  const resharding = new Resharding({ ...agreement, run, checkpoints, afterMs })
  const memories = [speeds, replicas, checkpoints, recovery, links]
  const term = acceptor.roster.ballot
  const { incarnation, founding, parted } = member
  const meeting = new Meeting({
    ...agreement,
    run,
    incarnation,
    founding,
    parted,
    places: options.places,
    superseded: (lineage, contact) => member.superseded(lineage, contact),
  })
  const changes = new RosterChanges({ ...agreement, term, health, admissions, memories })
  const removal = new StageRemoval({ ...agreement, health, teller, faults, recovery, changes })
  return {
    agreement,
    changed,
    speeds,
    health,
    teller,
    faults,
    links,
    admissions,
    replicas,
    checkpoints,
    recovery,
    resharding,
    changes,
    meeting,
    removal,
  }
}
