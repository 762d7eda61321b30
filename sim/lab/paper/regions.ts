/**
 * The network of the paper's throughput experiments: latency and bandwidth between seven Google Cloud regions.
 * The file has the table of the paper's code and the network in the form that a scenario takes.
 */
import type { Link } from '../../world/wire.ts'

/** Regions in the paper's order: the paper's node i is in region i modulo 7. */
const PAPER_REGIONS = [
  'Australia',
  'Belgium',
  'Canada',
  'Germany',
  'Iowa',
  'Netherlands',
  'London',
] as const

type PaperRegion = (typeof PAPER_REGIONS)[number]

/** One-way latency in milliseconds and bandwidth in GiB a second, equal in both directions. */
const PAIRS: readonly (readonly [PaperRegion, PaperRegion, number, number])[] = [
  ['Australia', 'Belgium', 129, 0.00983],
  ['Australia', 'Canada', 98, 0.01318],
  ['Australia', 'Germany', 125.5, 0.01046],
  ['Australia', 'Iowa', 84, 0.01123],
  ['Australia', 'Netherlands', 128, 0.00952],
  ['Australia', 'London', 132, 0.0094],
  ['Belgium', 'Canada', 41, 0.0199],
  ['Belgium', 'Germany', 4, 0.2425],
  ['Belgium', 'Iowa', 49, 0.02832],
  ['Belgium', 'Netherlands', 3, 0.2425],
  ['Belgium', 'London', 3.5, 0.2425],
  ['Canada', 'Germany', 44, 0.03186],
  ['Canada', 'Iowa', 14, 0.07568],
  ['Canada', 'Netherlands', 42, 0.02502],
  ['Canada', 'London', 38.5, 0.03638],
  ['Germany', 'Iowa', 53.5, 0.02661],
  ['Germany', 'Netherlands', 3.5, 0.2425],
  ['Germany', 'London', 6.6, 0.18875],
  ['Iowa', 'Netherlands', 51, 0.0274],
  ['Iowa', 'London', 48.1, 0.02185],
  ['Netherlands', 'London', 4.8, 0.02368],
]

/** Latency and bandwidth between two nodes of one region, which the table does not list. */
const WITHIN = { ms: 10, gibPerSecond: 0.5 }

/** Milliseconds that the paper's code subtracts from each latency. */
const LATENCY_OFF_MS = 0.1

const MBIT_OF_GIB = (8 * 1024 ** 3) / 1e6

function linkOf(ms: number, gibPerSecond: number) {
  const latencyMs = Math.round(10 * (ms - LATENCY_OFF_MS)) / 10
  return { latencyMs, mbitPerSecond: Math.round(gibPerSecond * MBIT_OF_GIB * 1000) / 1000 }
}

/** Network for a scenario, as `network: PAPER_NETWORK`. Slot i is in the region of the paper's node i. */
export const PAPER_NETWORK = {
  regions: [...PAPER_REGIONS] as string[],
  within: linkOf(WITHIN.ms, WITHIN.gibPerSecond),
  between: PAIRS.map(([a, b, ms, gibPerSecond]) => ({
    regions: [a, b] as [string, string],
    ...linkOf(ms, gibPerSecond),
  })),
}

/** Whether the transfers of a peer share its uplink or, as in the paper's code, share nothing. */
export type Sharing = 'uplink' | 'none'

const BYTES_PER_MS_OF_MBIT = 125

/** Function that gives the link between two nodes from their numbers. */
export function paperLinks(sharing: Sharing): (from: number, to: number) => Link {
  const { regions, within, between } = PAPER_NETWORK
  const region = (node: number) => regions[node % regions.length]!
  return (from, to) => {
    const ends = [region(from), region(to)]
    const pair = between.find((each) => each.regions.every((name) => ends.includes(name)))
    const { latencyMs, mbitPerSecond } = ends[0] === ends[1] ? within : pair!
    const bytesPerMs = mbitPerSecond * BYTES_PER_MS_OF_MBIT
    return { latencyMs, bytesPerMs, ...(sharing === 'none' && { queue: null }) }
  }
}
