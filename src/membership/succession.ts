/** How a member takes the place of a coordinator that is lost. */
import type { Change } from '../../protocols/agreement.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Member } from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'
import { type AgreementOptions, campaign, choose, Deposed } from './agreement.ts'
import { installAll } from './install.ts'
import { memberById } from './roster.ts'

type Succession =
  | { readonly result: 'elected' }
  /** Somebody knows of a later epoch. */
  | { readonly result: 'behind'; readonly peer: PeerId }
  /** What had been accepted before, and is chosen now, takes this member out of the roster. */
  | { readonly result: 'removed'; readonly epoch: number }
  | { readonly result: 'refused'; readonly reason: string }

/**
 * Asks for promises; proposes again what was accepted but perhaps not carried out, epoch by epoch; then a roster without
 * the lost coordinator, under which the step in hand starts over. Carrying that out makes this member the coordinator.
 */
export async function takeOver(
  options: AgreementOptions,
  own: Member,
  reason: string,
): Promise<Succession> {
  const { acceptor } = options
  for (;;) {
    const asked = await campaign(options, own)
    if (asked.result !== 'elected') return asked
    const { ballot, pending } = asked
    const lost = acceptor.roster.coordinator
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
    const before = acceptor.roster
    try {
      const after = await choose(options, ballot, change)
      // What was pending may still name the lost one, which would be waited for until the deadline.
      const never = new Promise<never>(() => {})
      const givenUp = ({ id }: Member) =>
        id === lost && id !== own.id
          ? Promise.reject(new ProtocolError('PEER_LOST', reason))
          : never
      await installAll(options, before, after, change, givenUp)
      if (memberById(after, own.id) === undefined) return { result: 'removed', epoch: after.epoch }
    } catch (error) {
      if (error instanceof Deposed) return { result: 'refused', reason: error.message }
      throw error
    }
    // Where the run goes on as another, whoever is missed is replaced there.
    if (pending === null || pending.type === 'reshard') return { result: 'elected' }
  }
}
