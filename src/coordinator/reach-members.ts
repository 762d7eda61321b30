/** Has members send probes to each other. */
import type { Member } from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'
import { ask } from '../../protocols/procedure.ts'
import { REACH_MAX, reach } from '../../protocols/reach.ts'
import { TIMEOUTS } from '../base/limits.ts'
import type { AgreementOptions } from '../membership/agreement.ts'
import { type ProbeManner, probePeers, type Unreached } from '../membership/probe-peers.ts'
import type { Health } from './health.ts'

export interface ReachOptions extends AgreementOptions {
  readonly health: Health
}

/** One member sends to another. */
export interface Link {
  readonly from: Member
  readonly to: Member
}

/** A link that did not work, and the reason. */
export interface FailedLink extends Link {
  readonly reason: string
}

/**
 * Has the first member of each link send a probe to the second. A failure is tried once more: the two may have connected in
 * the other direction meanwhile. Leaves out links of members that are lost.
 */
export async function failingLinks(
  options: ReachOptions,
  links: readonly Link[],
  manner: ProbeManner,
): Promise<FailedLink[]> {
  const first = await tryOnce(options, links, manner)
  const failed = first.length === 0 ? first : await tryOnce(options, first, manner)
  const { health } = options
  const ends = new Set(failed.flatMap(({ from, to }) => [from.peer, to.peer]))
  await Promise.all([...ends].map((peer) => health.suspect(peer, 'a probe got no answer')))
  return failed.filter(({ from, to }) => !health.lost.has(from.id) && !health.lost.has(to.id))
}

async function tryOnce(
  options: ReachOptions,
  links: readonly Link[],
  manner: ProbeManner,
): Promise<FailedLink[]> {
  const byFrom = Map.groupBy(links, ({ from }) => from)
  const failed = await Promise.all(
    [...byFrom].map(async ([from, all]) => {
      const some = all.slice(0, REACH_MAX)
      const peers = some.map(({ to }) => to.peer)
      const unreached = await unreachedFrom(options, from, peers, manner)
      const reasons = new Map(unreached.map(({ peer, reason }) => [peer, reason]))
      return some.flatMap(({ to }) => {
        const reason = reasons.get(to.peer)
        return reason === undefined ? [] : [{ from, to, reason }]
      })
    }),
  )
  return failed.flat()
}

/** The peers that a member does not reach; empty if the member itself does not answer, which makes it a suspect. */
async function unreachedFrom(
  options: ReachOptions,
  { peer }: Member,
  peers: PeerId[],
  manner: ProbeManner,
): Promise<Unreached[]> {
  const { network, runId, signal, health } = options
  if (peer === network.self) return probePeers(options, peers, manner)
  try {
    const question = { run: runId, peers, ...manner }
    const timeoutMs = manner.probeMs + TIMEOUTS.reconnectMs
    const { failures } = await ask(network, peer, reach, question, { timeoutMs, signal })
    return failures
  } catch (error) {
    if (!signal.aborted) await health.suspect(peer, (error as Error).message)
    return []
  }
}
