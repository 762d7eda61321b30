/**
 * The table of calamities, one row for each: what befalls a whole swarm, and not one of its peers. A history has at most
 * one. Each leaves a swarm that can go on, alone or with those who come back when the calamity is over.
 */
import type { Member, Roster } from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'
import { Random } from '../../stages/random.ts'
import { cut, type Theatre } from '../faults.ts'
import { votersOf } from './invariants.ts'

export interface Calamity {
  readonly kind: CalamityName
  /** Earliest time of the calamity. */
  readonly atMs: number
  /** Time until the network heals, or until those who were lost come back. */
  readonly lengthMs: number
  /** Share of the lost peers that do not come back before calm. */
  readonly absent: number
}

export interface Scene extends Pick<Theatre, 'world' | 'network' | 'crash'> {
  readonly calamity: Calamity
  readonly calmAtMs: number
  readonly random: Random
  /** The newest roster of the incarnation with the most peers that are alive. */
  readonly roster: Roster
  /** The members of the roster that are alive. */
  readonly present: readonly Member[]
  /** True for a peer whose numbers are sound. */
  isSound(peer: PeerId): boolean
  /** Starts the process of a lost peer again after so many milliseconds. */
  restart(peer: PeerId, ms: number): void
}

/** What has happened: for the history, and how it ends. */
interface Struck {
  readonly what: string
  end?(): void
}

/** Strikes a swarm. Null if the swarm is not in a state that it could go on from. */
type Row = (scene: Scene) => Struck | null

/** Committed steps after which every peer has something on its disk. */
const STEPS_MIN = 2
const GROUPS_MAX = 3

const CALAMITIES = {
  /** More than half of the voters are lost at one moment, and never come back. A holder of the ends is left. */
  majorityLost(scene) {
    const lost = majorityOf(scene)
    if (lost === null) return null
    for (const peer of lost) scene.crash(peer)
    return { what: `a majority is lost: ${lost.join(', ')}` }
  },

  /** The same, and their processes start again. */
  majorityBack(scene) {
    const lost = majorityOf(scene)
    if (lost === null) return null
    comeBack(scene, lost)
    for (const peer of lost) scene.crash(peer)
    return { what: `a majority is lost, to come back: ${lost.join(', ')}` }
  },

  /** Every process ends at one moment, as in a power cut. All disks come back, some of them late. */
  everybodyLost(scene) {
    if (scene.roster.committed < STEPS_MIN) return null
    const lost = scene.network.living
    comeBack(scene, lost)
    for (const peer of lost) scene.crash(peer)
    return { what: `all are lost, to come back: ${lost.join(', ')}` }
  },

  /** The network falls into groups that do not reach each other. Who joins meanwhile belongs to one of them, too. */
  split(scene) {
    const { network, random, calamity } = scene
    const groups = 2 + random.integer(GROUPS_MAX - 1)
    const groupOf = (peer: PeerId) => new Random(`${random.path}/${peer}`).integer(groups)
    const islands = Array.from({ length: groups }, (_, i) =>
      network.living.filter((peer) => groupOf(peer) === i),
    )
    const names = islands.map((peers) => `[${peers.join(', ')}]`).join(' ')
    const what = `for ${Math.round(calamity.lengthMs)} ms the network is split: ${names}`
    return cut(scene, random, what, (from, to) => groupOf(from) !== groupOf(to))
  },
} satisfies Record<string, Row>

export type CalamityName = keyof typeof CALAMITIES

export const CALAMITY_NAMES = Object.keys(CALAMITIES) as CalamityName[]

/** Lets the calamity of the scene happen now. Null if it cannot yet. */
export function strike(scene: Scene): Struck | null {
  return (CALAMITIES[scene.calamity.kind] as Row)(scene)
}

/** Draws voters that are more than half of all, and some other members. Null without a holder of the ends that is left. */
function majorityOf({ roster, present, random, isSound }: Scene): PeerId[] | null {
  const ends = present.find(({ stage, ready, peer }) => stage === 0 && ready && isSound(peer))
  if (roster.committed < STEPS_MIN || ends === undefined) return null
  const voters = votersOf(roster)
  const mayGo = shuffled(present, random).filter((member) => member !== ends)
  const voting = mayGo.filter((member) => voters.includes(member))
  const least = Math.floor(voters.length / 2) + 1
  // Voters that are not present count as lost already.
  const needed = Math.max(1, least - (voters.length - voting.length - 1))
  if (needed > voting.length) return null
  const lost = voting.slice(0, needed + random.integer(voting.length - needed + 1))
  const others = mayGo.filter((member) => !voters.includes(member) && random.integer(2) === 0)
  return [...lost, ...others].map(({ peer }) => peer)
}

/** Starts peers again, each a little later than the one before, and some at calm only. */
function comeBack(scene: Scene, lost: readonly PeerId[]): void {
  const { calamity, calmAtMs, random, world } = scene
  const untilCalm = calmAtMs - world.clock.now()
  for (const peer of lost) {
    const isLate = random.float() < calamity.absent
    const ms = calamity.lengthMs * (0.5 + random.float() / 2)
    scene.restart(peer, isLate ? untilCalm : Math.min(ms, untilCalm))
  }
}

function shuffled<T>(list: readonly T[], random: Random): T[] {
  const rest = [...list]
  return list.map(() => rest.splice(random.integer(rest.length), 1)[0]!)
}
