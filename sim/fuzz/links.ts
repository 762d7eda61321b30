/** Links of peers on a ring. The latency grows with the distance. */
import type { PeerId } from '../../protocols/network.ts'
import { Random } from '../../stages/random.ts'
import type { LinkTable } from '../world/wire.ts'
import type { Case } from './case.ts'

export function linksOf({ latencyMs: { least, most }, seed }: Case): LinkTable {
  const places = new Map<PeerId, number>()
  const placeOf = (peer: PeerId) => {
    const known = places.get(peer)
    if (known !== undefined) return known
    const place = new Random(`${seed}/place/${peer}`).float()
    places.set(peer, place)
    return place
  }
  return (from, to) => {
    const apart = Math.abs(placeOf(from) - placeOf(to))
    const far = 2 * Math.min(apart, 1 - apart)
    return { latencyMs: least + (most - least) * far, bytesPerMs: 10_000 }
  }
}

/** In half of the cases several peers dial from one network, so that their votes are bounded. */
export function hostsOf({ seed }: Case): (peer: PeerId) => string {
  const hosts = new Random(`${seed}/hosts`).integer(2 * HOSTS_MAX)
  if (hosts >= HOSTS_MAX) return () => ''
  return (peer) => `host-${new Random(`${seed}/host/${peer}`).integer(hosts + 1)}`
}

const HOSTS_MAX = 4
