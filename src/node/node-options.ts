/** The options of a node, and of the part of them that a successor run replaces. */
import type { Lineage } from '../../protocols/incarnation.ts'
import type { Claim, Origin } from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'
import type { MemberOptions } from '../holder/member.ts'
import type { Enter, Seeking } from '../membership/discovery.ts'
import type { Run } from '../run/run.ts'

export interface NodeOptions extends MemberOptions {
  /** Stage that this peer insists on; null takes the stage that needs a holder most. */
  readonly wish: number | null
  /** Finds a peer of the run that admits this one, and gives the coordinator. Null means that this peer founds the run. */
  discover(enter: Enter, seeking: Seeking): Promise<PeerId | null>
  /** Addresses at which a peer of the run may be. A founder looks there for another founding of its run. @default none */
  readonly places?: (() => readonly string[]) | undefined
  /** How much this peer may found the run when it starts. @default may */
  readonly claim?: Claim
  /**
   * Time without enough members after which the run continues with fewer stages, in milliseconds. It applies if this peer
   * is the coordinator. If left out, the run waits for ever.
   */
  readonly reshardAfterMs?: number | undefined
  /** Opens what this peer needs in a successor run. If left out, the node ends when its run is resharded. */
  readonly openSuccessor?: OpenSuccessor | undefined
  /** The incarnation that this peer is in; that in which the run is founded if left out. */
  readonly lineage?: Lineage
  /** Step after which the run ends, if this peer is the coordinator. */
  readonly lastStep: number
  /** Aborts when the node has to stop. The reason of the signal may be a `Departure`. */
  readonly signal: AbortSignal
}

/** Options of a node that its successor run replaces. */
type SuccessorResources = Partial<
  Pick<
    NodeOptions,
    'journal' | 'createStage' | 'loadData' | 'save' | 'discover' | 'knownMembers' | 'disk'
  >
> &
  Pick<NodeOptions, 'resume'>

/**
 * Opens what a peer needs in a successor run.
 * @param run manifest of the successor
 * @param origin checkpoint that the successor starts from
 */
export type OpenSuccessor = (
  run: Run,
  runId: string,
  origin: Origin,
) => Promise<SuccessorResources> | SuccessorResources
