/**
 * What may happen to a swarm, a row a fault. Each is drawn from the seed, so that a history can be repeated; each ends
 * by itself after a while, and all end when calm is to come.
 *
 * Faults keep the promises of a `Network`, so that whatever goes wrong under them is a mistake of the node: a message
 * is never changed unnoticed (Noise and the checksums of frames see to that), never answered twice, and a handler that
 * runs twice for one call (as it does for a caller who asks again after a lost answer) runs for a call that fails.
 */
import type { PeerId } from '../protocols/network.ts'
import type { Random } from '../stages/random.ts'
import { exponential } from './exponential.ts'
import type { Disturbance, Fate } from './world/disturbance.ts'
import type { VirtualNetwork } from './world/network.ts'
import type { World } from './world/world.ts'

/** What faults act on. */
export interface Theatre {
  readonly world: World
  readonly network: VirtualNetwork
  /** Peers that may crash now, so that what is left can still go on. */
  expendable(): readonly PeerId[]
  /** Ends a peer without a farewell, if it is alive. */
  crash(peer: PeerId): void
  /** Starts a peer under a name that nobody alive has: a new one, or one that crashed. */
  start(peer: PeerId): void
}

/** A fault that has struck. */
interface Blow {
  /** For whoever reads the history: "peer-3 stands still". */
  readonly what: string
  /** Undoes it. */
  end?(): void
}

/** Null where there is nobody whom it could strike. */
type Fault = (theatre: Theatre, random: Random) => Blow | null

/** The largest share of all living peers that one fault crashes. */
export const CRASHED_SHARE_MAX = 0.3
const JOINERS_MAX = 8
const SLOWNESS_MAX = 20
const DRIFT_MAX = 0.05
const LOSS_MAX = 0.1
const DELAY_MS_MAX = 3_000
const REORDER_MS_MAX = 500
const AGAIN_MS_MAX = 5_000
/** From a cut until a side takes the connection for lost. */
const SEVERED_MS_MAX = 10_000

export const FAULTS = {
  crash(theatre, random) {
    const peer = pick(theatre.expendable(), random)
    if (peer === undefined) return null
    theatre.crash(peer)
    return { what: `${peer} crashes` }
  },

  /** Spot instances are lost in bursts. */
  crashSeveral(theatre, random) {
    const some = sample(theatre.expendable(), CRASHED_SHARE_MAX * random.float(), random)
    if (some.length === 0) return null
    for (const peer of some) theatre.crash(peer)
    return { what: `${some.join(', ')} crash` }
  },

  restart(theatre, random) {
    const peer = pick(theatre.expendable(), random)
    if (peer === undefined) return null
    theatre.crash(peer)
    return { what: `${peer} crashes, to come back`, end: () => theatre.start(peer) }
  },

  /** A laptop's lid, SIGSTOP: connections stay, nobody answers. */
  freeze({ network }, random) {
    const peer = pick(network.living, random)
    if (peer === undefined) return null
    const machine = network.machineOf(peer)
    machine.freeze()
    return { what: `${peer} stands still`, end: () => machine.thaw() }
  },

  slow({ network }, random) {
    const peer = pick(network.living, random)
    if (peer === undefined) return null
    const machine = network.machineOf(peer)
    machine.slowness = 2 + random.integer(SLOWNESS_MAX - 1)
    return {
      what: `${peer} is ${machine.slowness} times slower`,
      end() {
        machine.slowness = 1
      },
    }
  },

  drift({ network }, random) {
    const peer = pick(network.living, random)
    if (peer === undefined) return null
    const machine = network.machineOf(peer)
    const rate = 1 + (2 * random.float() - 1) * DRIFT_MAX
    machine.drift(rate)
    return { what: `the clock of ${peer} goes at ${rate}`, end: () => machine.drift(1) }
  },

  /** Two groups that cannot hear each other. */
  partition(theatre, random) {
    const island = islandOf(theatre, random)
    const what = `[${[...island].join(', ')}] is cut off`
    return cut(theatre, random, what, (from, to) => island.has(from) !== island.has(to))
  },

  /** A group whose messages do not get out, though it hears the others. */
  oneWay(theatre, random) {
    const island = islandOf(theatre, random)
    const what = `[${[...island].join(', ')}] is not heard`
    return cut(theatre, random, what, (from, to) => island.has(from) && !island.has(to))
  },

  /** Connections that break, or go silent, with a question or an answer on the way. */
  loss: (theatre, random) => befall(theatre, random, 'lost', () => lossOf(random)),

  corruption: (theatre, random) => befall(theatre, random, 'corrupt', () => 'corrupt'),

  duplicate: (theatre, random) =>
    befall(theatre, random, 'duplicated', () => ({
      againAfterMs: AGAIN_MS_MAX * random.float(),
    })),

  /** All messages take longer, by the same. */
  delay({ network }, random) {
    const delayMs = DELAY_MS_MAX * random.float()
    const end = network.disturb(() => ({ delayMs }))
    return { what: `messages come ${Math.round(delayMs)} ms late`, end }
  },

  /** Each message takes longer by another time, so that they overtake each other. */
  reorder({ network }, random) {
    const end = network.disturb(() => ({ delayMs: REORDER_MS_MAX * random.float() }))
    return { what: 'messages overtake each other', end }
  },

  joinerStorm(theatre, random) {
    const count = 1 + random.integer(JOINERS_MAX)
    const names = Array.from({ length: count }, (_, i) => newName(theatre, i))
    for (const name of names) theatre.start(name)
    return { what: `${names.join(', ')} join` }
  },
} satisfies Record<string, Fault>

export type FaultName = keyof typeof FAULTS

const FAULT_NAMES = Object.keys(FAULTS) as FaultName[]

/** Swarm testing: a history with some kinds of faults finds what one with all of them hides. */
export function drawFaults(random: Random): FaultName[] {
  const drawn = FAULT_NAMES.filter(() => random.integer(2) === 0)
  return drawn.length > 0 ? drawn : [pick(FAULT_NAMES, random)!]
}

export interface Storm {
  readonly faults: readonly FaultName[]
  /** Mean time between two blows; they come like a Poisson process. */
  readonly gapMs: number
  /** Mean time that a blow lasts. */
  readonly lengthMs: number
  /** No fault strikes from here on, and all that last have ended. */
  readonly calmAtMs: number
  readonly random: Random
  /** Hears of each blow as it strikes and as it ends. */
  readonly tell?: ((what: string) => void) | undefined
}

/** Lets faults strike until calm comes; none at all if there are none to choose from. */
export function unleash(theatre: Theatre, storm: Storm): void {
  const { world } = theatre
  const { faults, gapMs, lengthMs, calmAtMs, random, tell = () => {} } = storm
  const untilCalm = () => calmAtMs - world.clock.now()
  const strike = () => {
    const blow = (FAULTS[pick(faults, random)!] as Fault)(theatre, random)
    if (blow !== null) {
      tell(blow.what)
      const ms = Math.min(exponential(lengthMs, random), untilCalm())
      const { end } = blow
      if (end !== undefined) {
        world.schedule(ms, `the end of: ${blow.what}`, () => {
          tell(`no more: ${blow.what}`)
          end()
        })
      }
    }
    next()
  }
  const next = () => {
    const ms = exponential(gapMs, random)
    if (faults.length > 0 && ms < untilCalm()) world.schedule(ms, 'a fault', strike)
  }
  next()
}

/** Messages that `cuts` says so are blocked; either side may take its connections for lost after a while. */
function cut(
  { world, network }: Theatre,
  random: Random,
  what: string,
  cuts: (from: PeerId, to: PeerId) => boolean,
): Blow {
  const stopDisturbing = network.disturb((from, to) => (cuts(from, to) ? 'blocked' : undefined))
  const severing: (() => void)[] = []
  for (const from of network.living) {
    for (const to of network.living) {
      // A side sends, hears no acknowledgement, and gives the connection up; or it waits on.
      if (from === to || !(cuts(from, to) || cuts(to, from)) || random.integer(2) === 0) continue
      const ms = SEVERED_MS_MAX * random.float()
      severing.push(
        world.schedule(ms, `${from} gives up ${to}`, () => {
          const { living } = network
          if (living.includes(from) && living.includes(to)) network.sever(from, to)
        }),
      )
    }
  }
  return {
    what,
    end() {
      for (const cancel of severing) cancel()
      stopDisturbing()
    },
  }
}

/** A share of all messages has a fate. */
function befall({ network }: Theatre, random: Random, how: string, fate: () => Fate): Blow {
  const share = LOSS_MAX * random.float()
  const disturbance: Disturbance = () => (random.float() < share ? fate() : undefined)
  return {
    what: `${(100 * share).toFixed(1)} % of messages are ${how}`,
    end: network.disturb(disturbance),
  }
}

function lossOf(random: Random): Fate {
  return random.integer(2) === 0 ? 'reset' : 'swallowed'
}

/** Some of the living, at least one, at most half of them. */
function islandOf({ network }: Theatre, random: Random): ReadonlySet<PeerId> {
  return new Set(sample(network.living, random.float() / 2, random))
}

/** A share of the list, at least one if there is any, without order. */
function sample(list: readonly PeerId[], share: number, random: Random): PeerId[] {
  const rest = [...list]
  const count = Math.min(rest.length, Math.max(1, Math.floor(share * list.length)))
  return Array.from({ length: count }, () => rest.splice(random.integer(rest.length), 1)[0]!)
}

function pick<T>(list: readonly T[], random: Random): T | undefined {
  return list[random.integer(list.length)]
}

/** The world counts its events: no other storm has the same name. */
function newName({ world }: Theatre, index: number): PeerId {
  return `joiner-${world.fired}-${index}`
}
