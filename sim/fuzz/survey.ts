/** Asks every peer of a fuzzed swarm in which incarnation of the run it is. */
import { roster } from '../../protocols/membership.ts'
import type { FuzzPeer } from './peer.ts'

/** The incarnations of the peers that are in a roster, each with the names of its peers. */
export async function incarnationsOf(
  peers: Iterable<FuzzPeer>,
  runId: string,
  onlooker: string,
): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>()
  const asked = [...peers].map(async ({ name, tap }) => {
    // A peer that is in no roster refuses.
    const answer = await tap.ask(onlooker, roster.protocol, { run: runId }).catch(() => null)
    if (answer === null) return
    const { incarnation } = answer.header as { incarnation: string }
    found.set(incarnation, [...(found.get(incarnation) ?? []), name])
  })
  await Promise.all(asked)
  return found
}
