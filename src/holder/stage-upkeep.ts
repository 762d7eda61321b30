/** Work of a holder after each commit, beside training: copies, checkpoints, and a guest's copy. */
import { ProtocolError } from '../../protocols/errors.ts'
import type { Member, Roster } from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'
import type { WeightsQuestion } from '../../protocols/weights.ts'
import { CheckpointWriter, type CheckpointWriterOptions } from '../checkpoint/checkpoint-writer.ts'
import type { DiskUpkeep } from '../checkpoint/disk-upkeep.ts'
import { Copying, type CopyingOptions } from '../copies/copying.ts'
import type { ActiveStage } from './active-stage.ts'
import { GuestCopy } from './guest-copy.ts'
import type { WeightsCopy } from './stage-replica.ts'

export type StageUpkeepOptions = CopyingOptions &
  CheckpointWriterOptions & {
    /** Writes the stage's state to this peer's disk. */
    readonly diskUpkeep?: Pick<DiskUpkeep, 'beforeUpdate'> | undefined
  }

export class StageUpkeep {
  readonly #checkpoints: CheckpointWriter
  readonly #copying: Copying
  readonly #guestCopy: GuestCopy
  readonly #disk: StageUpkeepOptions['diskUpkeep']

  constructor(options: StageUpkeepOptions) {
    this.#disk = options.diskUpkeep
    this.#checkpoints = new CheckpointWriter(options)
    this.#copying = new Copying(options)
    this.#guestCopy = new GuestCopy(options)
  }

  /** Must be called before the stage's state changes. */
  beforeUpdate(): void {
    this.#copying.beforeUpdate()
    this.#checkpoints.beforeUpdate()
    this.#disk?.beforeUpdate()
  }

  /** The step of `roster` was applied. Resolves when training may continue. */
  async committed(active: ActiveStage, roster: Roster, own: Member): Promise<void> {
    this.#copying.follow(active, roster, own)
    this.#guestCopy.committed(roster.committed, () => active.replica.copyWeights())
    await this.#checkpoints.committed(active, roster, own)
  }

  /** The members have changed: a new keeper gets its copy at once. Must be called between two updates. */
  membersChanged(active: ActiveStage, roster: Roster, own: Member): void {
    this.#copying.follow(active, roster, own)
  }

  /** The stage was given up. */
  reset(): void {
    this.#checkpoints.reset()
    this.#copying.reset()
    this.#guestCopy.drop('the stage was given up')
  }

  /** Keeps a copy of the weights after `step` for a guest. Must be called between two updates. @throws ProtocolError */
  keepGuestCopy(
    active: ActiveStage,
    guest: PeerId,
    { stage, step }: { readonly stage: number; readonly step: number },
    committed: number,
  ): Promise<WeightsCopy> {
    if (active.index === stage) {
      return this.#guestCopy.ask(guest, step, committed, () => active.replica.copyWeights())
    }
    throw new ProtocolError('STALE', `this peer holds stage ${active.index}, not ${stage}`)
  }

  /** A chunk of the copy that is kept for a guest. @throws ProtocolError */
  async donateToGuest(
    active: ActiveStage,
    guest: PeerId,
    { step, stage, part, offset, length }: WeightsQuestion,
  ) {
    if (active.index !== stage || part !== 'weights') {
      throw new ProtocolError('NOT_MEMBER', `${guest} is not in the roster`)
    }
    const { weights, facts } = await this.#guestCopy.of(guest, step)
    return active.replica.chunk(weights, facts, offset, length)
  }
}
