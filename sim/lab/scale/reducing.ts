/** Computes in closed form how long the replicas of all stages take to add up their sums (`src/holder/reduce.ts`). */

import { OWNERS_MAX } from '../../../protocols/step.ts'
import { CHUNK_ELEMENTS } from '../../../protocols/weights.ts'
import { understudiesOf } from '../../../src/copies/understudies.ts'
import { holdersOf, learnersOf } from '../../../src/membership/roster.ts'
import type { Share } from './round.ts'
import type { Swarm } from './swarm.ts'
import type { Upkeep } from './upkeep.ts'
import type { Peer } from './wires.ts'

const CHUNK_BYTES = 4 * CHUNK_ELEMENTS

/** Milliseconds of the slowest stage, with the question and the answer. */
export function reduceMs(swarm: Swarm, upkeep: Upkeep, shares: readonly Share[]): number {
  const { roster, setting } = swarm
  const contributors = Map.groupBy(
    shares.filter(({ counted }) => counted > 0),
    ({ stage }) => stage,
  )
  let longest = 0
  for (let stage = 0; stage <= setting.run.stages; stage++) {
    const present = (members: readonly { readonly id: number }[]) => {
      const peers: Peer[] = []
      for (const { id } of members) {
        const peer = swarm.peerOf(id)
        if (peer?.alive) peers.push(peer)
      }
      return peers
    }
    const holders = present(holdersOf(roster, stage))
    const others = present([
      ...learnersOf(roster, stage),
      ...understudiesOf(setting.run, roster, stage),
    ])
    if (holders.length + others.length < 2) continue
    const giving = present(contributors.get(stage) ?? [])
    longest = Math.max(longest, stageMs(swarm, upkeep.weightBytes(stage), holders, giving, others))
  }
  return longest
}

function stageMs(
  { wires, bytes, coordinator }: Swarm,
  sumBytes: number,
  holders: readonly Peer[],
  contributors: readonly Peer[],
  others: readonly Peer[],
): number {
  const owners = holders.slice(0, OWNERS_MAX)
  const rangeBytes = sumBytes / owners.length
  const chunks = Math.ceil(rangeBytes / CHUNK_BYTES)
  let latencyMs = 0
  let connectMs = 0
  let coordinatorMs = 0
  let bytesPerMs = Number.POSITIVE_INFINITY
  const company = companyOf(owners)
  const seen: (Peer | undefined)[] = []
  for (const members of [holders, others]) {
    for (const peer of members) {
      if (peer !== coordinator) seen[peer.region] = peer
      else seen[peer.region] ??= peer
      if (peer.company === company) continue
      peer.company = company
      for (const owner of owners) connectMs = Math.max(connectMs, wires.connectMs(owner, peer))
    }
  }
  for (const peer of seen) {
    if (peer === undefined) continue
    coordinatorMs = Math.max(coordinatorMs, wires.latencyMs(coordinator, peer))
    for (const owner of owners) {
      const line = wires.line(owner, peer)
      latencyMs = Math.max(latencyMs, line.latencyMs)
      bytesPerMs = Math.min(bytesPerMs, line.bytesPerMs)
    }
  }
  /** The slower of two: the chunks of a range one after another, or all bytes over one uplink. */
  const transferMs = (uplinkBytes: number) =>
    Math.max(uplinkBytes / bytesPerMs, 2 * (chunks - 1) * latencyMs + rangeBytes / bytesPerMs)
  const asked = owners.flatMap((owner) => contributors.filter((each) => each !== owner))
  bytes.gradients += asked.length * rangeBytes
  const sumsMs = asked.length === 0 ? 0 : 2 * latencyMs + transferMs(sumBytes)
  const fetching = holders.length - 1 + others.length
  bytes.gradients += owners.length * fetching * rangeBytes
  // An owner asks for other ranges after it has added up its own. Other members ask before the total is there.
  const askedMs = owners.length > 1 ? sumsMs + latencyMs : latencyMs
  const totalsMs = askedMs + latencyMs + transferMs(fetching * rangeBytes)
  return 2 * coordinatorMs + connectMs + totalsMs
}

/**
 * A list that stays the same object while the same peers own the ranges of the stage. A peer refers to the list when it is
 * connected to all of them.
 */
function companyOf(owners: readonly Peer[]): readonly Peer[] {
  const { company } = owners[0]!
  const isSame =
    company?.length === owners.length && owners.every((owner, i) => owner === company[i])
  return isSame ? company : owners
}
