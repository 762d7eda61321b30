/** The election of a new coordinator after the loss of the old one. */
import type { Change } from '../../protocols/agreement.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Member } from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'
import { type AgreementOptions, choose, Deposed } from './agreement.ts'
import { campaign } from './campaign.ts'
import { installAll } from './install.ts'
import { memberById } from './roster.ts'

/** The result of an attempt to become the coordinator. */
type Succession =
  | { readonly result: 'elected' }
  /** Another roster came here during the campaign. Its coordinator may be alive. */
  | { readonly result: 'overtaken' }
  /** `peers` say that they know a later epoch. */
  | { readonly result: 'behind'; readonly peers: readonly PeerId[] }
  /** A change that was accepted before, and is chosen now, removes this member from the roster. */
  | { readonly result: 'removed'; readonly epoch: number }
  /** `answering`: ids of the members that answered; null if a majority did. */
  | {
      readonly result: 'refused'
      readonly reason: string
      readonly answering: ReadonlySet<number> | null
    }

/**
 * Tries to make this member the coordinator. It asks for promises, and proposes again each change that was accepted but
 * perhaps not installed. Then it proposes a roster without the lost coordinator, under which the current step starts
 * over. The installation of this roster makes this member the coordinator.
 * @param reason why the old coordinator counts as lost
 */
export async function takeOver(
  options: AgreementOptions,
  own: Member,
  reason: string,
): Promise<Succession> {
  const { acceptor } = options
  for (;;) {
    const result = await campaign(options, own)
    if (result.result !== 'elected') return result
    const { ballot, roster: before, pending } = result
    if (acceptor.roster.epoch !== before.epoch) return { result: 'overtaken' }
    const lost = before.coordinator
    const change: Change = pending ?? {
      type: 'members',
      coordinator: own.id,
      ballot,
      join: [],
      leave: lost === own.id ? [] : [lost],
      assign: [],
      restart: true,
      reason: reason.slice(0, 256),
    }
    try {
      const after = await choose(options, before, ballot, change)
      // A pending change may still name the lost coordinator, whose answer must not be awaited until the deadline.
      const never = new Promise<never>(() => {})
      const rejectIfLost = ({ id }: Member) =>
        id === lost && id !== own.id
          ? Promise.reject(new ProtocolError('PEER_LOST', reason))
          : never
      await installAll(options, before, after, change, rejectIfLost)
      if (memberById(after, own.id) === undefined) return { result: 'removed', epoch: after.epoch }
    } catch (error) {
      if (error instanceof Deposed) {
        return { result: 'refused', reason: error.message, answering: null }
      }
      throw error
    }
    // After a reshard, missing members are replaced in the successor run.
    if (pending === null || pending.type === 'reshard') return { result: 'elected' }
  }
}
