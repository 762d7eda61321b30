/**
 * The table of faults that can strike a swarm, one row for each fault. Each fault is drawn from the seed, so a history can
 * be repeated. Each fault ends by itself, and all faults end at the calm time.
 *
 * Faults keep the promises of a `Network`, so any failure under them is a mistake of the node. A message is never changed
 * unnoticed, because Noise and the checksums of frames detect it. A message is never answered twice. A handler may run
 * twice for one call, as when a caller repeats a question after a lost answer. Such a handler runs for a call that fails.
 */
import type { PeerId } from '../protocols/network.ts'
import type { Random } from '../stages/random.ts'
import { exponential } from './exponential.ts'
import type { Disturbance, Fate } from './world/disturbance.ts'
import type { VirtualNetwork } from './world/network.ts'
import type { World } from './world/world.ts'

/** What is wrong with the machine of a peer. Faults change it, and the peer's stages, disk and data behave accordingly. */
export interface Flaws {
  /** True if the stages of the peer give values that are not finite. */
  isUnsound: boolean
  /** True if the disk of the peer takes nothing more. */
  isDiskFull: boolean
  /** Milliseconds until the peer has the tokens of a microbatch. */
  readMs: number
}

/** The swarm and the functions that faults act on. */
export interface Theatre {
  readonly world: World
  readonly network: VirtualNetwork
  /** Peers that may crash now without ending the run. */
  expendable(): readonly PeerId[]
  /** Kills a living peer without notice. */
  crash(peer: PeerId): void
  /** Starts a peer under a name that no living peer has: a new name, or the name of a crashed peer. */
  start(peer: PeerId): void
  /** The flaws of a living peer. */
  flawsOf(peer: PeerId): Flaws
  /** Peers that were made unsound. */
  readonly unsound: Set<PeerId>
}

/** A fault that has struck. */
export interface Blow {
  /** Description of the fault for the history, such as "peer-3 stands still". */
  readonly what: string
  /** Undoes it. */
  end?(): void
}

/** Strikes the swarm with one fault. The result is null if the fault has no possible target. */
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
/** Longest time for which a single message is held up: longer than most deadlines. */
const LATE_MS_MAX = 90_000
const READ_MS_MAX = 5_000
/** Largest share of the living peers that have moved since they joined. */
const MOVED_SHARE_MAX = 0.25
/** Share of the peers with unsound numbers that stay so for good. */
const UNSOUND_FOR_GOOD = 0.25
/** Most milliseconds from a cut until a side takes the connection for lost. */
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

  /** Suspends peers, as a closed laptop or SIGSTOP does. Their connections stay, and their messages get no answer. */
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

  /** Separates two groups, so that no message passes between them. */
  partition(theatre, random) {
    const island = islandOf(theatre, random)
    const what = `[${[...island].join(', ')}] is cut off`
    return cut(theatre, random, what, (from, to) => island.has(from) !== island.has(to))
  },

  /** Blocks the messages that a group sends. The group still receives messages. */
  oneWay(theatre, random) {
    const island = islandOf(theatre, random)
    const what = `[${[...island].join(', ')}] is not heard`
    return cut(theatre, random, what, (from, to) => island.has(from) && !island.has(to))
  },

  /** Cuts the link of two peers that everybody else reaches, in both directions or in one. */
  brokenLink(theatre, random) {
    const [one, other] = pickTwo(theatre.network.living, random)
    if (one === undefined || other === undefined) return null
    const isBoth = random.integer(2) === 0
    const what = `${one} does not reach ${other}${isBoth ? ', nor the other way round' : ''}`
    return cut(
      theatre,
      random,
      what,
      (from, to) => (from === one && to === other) || (isBoth && from === other && to === one),
    )
  },

  /** Blocks all new connections to a peer, as a router does that translates addresses. The peer itself can dial. */
  undialable({ network }, random) {
    const peer = pick(network.living, random)
    if (peer === undefined) return null
    const end = network.disturb((_, to, kind) =>
      to === peer && kind === 'handshake' ? 'blocked' : undefined,
    )
    return { what: `nobody can dial ${peer}`, end }
  },

  /**
   * Gives a peer another address, as after a change of its network. Its connections are dead, and nobody is told. Few
   * peers ever move: members that have all moved at one moment know no address at which to find each other.
   */
  move({ network }, random) {
    const { living } = network
    const staying = living.filter((peer) => network.addressOf(peer) === `sim://${peer}`)
    const peer = pick(staying, random)
    const moved = living.length - staying.length
    if (peer === undefined || moved + 1 > MOVED_SHARE_MAX * living.length) return null
    network.move(peer)
    return { what: `${peer} has another address` }
  },

  /** Breaks connections, or silences them, while a question or an answer is on the way. */
  loss: (theatre, random) => befall(theatre, random, 'lost', () => lossOf(random)),

  corruption: (theatre, random) => befall(theatre, random, 'corrupt', () => 'corrupt'),

  duplicate: (theatre, random) =>
    befall(theatre, random, 'duplicated', () => ({
      againAfterMs: AGAIN_MS_MAX * random.float(),
    })),

  /** Holds single messages up for so long that the swarm has gone on without them. */
  late: (theatre, random) =>
    befall(theatre, random, 'very late', () => ({ delayMs: LATE_MS_MAX * random.float() })),

  /** Delays all messages by the same time. */
  delay({ network }, random) {
    const delayMs = DELAY_MS_MAX * random.float()
    const end = network.disturb(() => ({ delayMs }))
    return { what: `messages come ${Math.round(delayMs)} ms late`, end }
  },

  /** Delays each message by a different time, so that messages overtake each other. */
  reorder({ network }, random) {
    const end = network.disturb(() => ({ delayMs: REORDER_MS_MAX * random.float() }))
    return { what: 'messages overtake each other', end }
  },

  /** Makes one peer compute values that are not finite, as bad memory does. The peer loses its stage for that. */
  unsound(theatre, random) {
    const { flawsOf, unsound } = theatre
    // With two such peers nobody could tell a bad peer from bad data, also if the second one fails on a batch later.
    if (unsound.size > 0) return null
    const peer = pick(theatre.expendable(), random)
    if (peer === undefined) return null
    unsound.add(peer)
    const flaws = flawsOf(peer)
    flaws.isUnsound = true
    if (random.float() < UNSOUND_FOR_GOOD) return { what: `${peer} is unsound for good` }
    return {
      what: `${peer} is unsound`,
      end() {
        flaws.isUnsound = false
      },
    }
  },

  fullDisk({ network, flawsOf }, random) {
    const peer = pick(network.living, random)
    if (peer === undefined) return null
    const flaws = flawsOf(peer)
    flaws.isDiskFull = true
    return {
      what: `the disk of ${peer} is full`,
      end() {
        flaws.isDiskFull = false
      },
    }
  },

  /** Makes all peers wait for their tokens, so that the swarm may go on before the peers have them. */
  slowData({ network, flawsOf }, random) {
    const waiting = network.living.map(flawsOf)
    const ms = READ_MS_MAX * random.float()
    for (const flaws of waiting) flaws.readMs = ms
    return {
      what: `data come after ${Math.round(ms)} ms`,
      end() {
        for (const flaws of waiting) flaws.readMs = 0
      },
    }
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

/**
 * Draws some kinds of faults. A history with a few kinds finds mistakes that a history with all kinds hides (swarm
 * testing).
 */
export function drawFaults(random: Random): FaultName[] {
  const drawn = FAULT_NAMES.filter(() => random.integer(2) === 0)
  return drawn.length > 0 ? drawn : [pick(FAULT_NAMES, random)!]
}

export interface Storm {
  readonly faults: readonly FaultName[]
  /** Mean time between two faults. Faults are a Poisson process. */
  readonly gapMs: number
  /** Mean time that a fault lasts. */
  readonly lengthMs: number
  /** Time from which no fault strikes and all earlier faults have ended. */
  readonly calmAtMs: number
  readonly random: Random
  /** Called when a fault strikes and when it ends. */
  readonly tell?: ((what: string) => void) | undefined
}

/** Lets faults strike until the calm time. With an empty list no fault strikes. */
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

/** Blocks the messages that `cuts` selects until the blow ends. Either side may take its connections for lost after a while. */
export function cut(
  { world, network }: Pick<Theatre, 'world' | 'network'>,
  random: Random,
  what: string,
  cuts: (from: PeerId, to: PeerId) => boolean,
): Required<Blow> {
  const stopDisturbing = network.disturb((from, to) => (cuts(from, to) ? 'blocked' : undefined))
  const severing: (() => void)[] = []
  for (const from of network.living) {
    for (const to of network.living) {
      // A side that gets no acknowledgement either gives the connection up or keeps waiting.
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

/** Gives a share of all messages a fate. */
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

/** Draws a group of living peers: at least one, and at most half of them. */
function islandOf({ network }: Theatre, random: Random): ReadonlySet<PeerId> {
  return new Set(sample(network.living, random.float() / 2, random))
}

/** Draws a share of the list, in no order. The result has at least one element unless the list is empty. */
function sample(list: readonly PeerId[], share: number, random: Random): PeerId[] {
  const rest = [...list]
  const count = Math.min(rest.length, Math.max(1, Math.floor(share * list.length)))
  return Array.from({ length: count }, () => rest.splice(random.integer(rest.length), 1)[0]!)
}

function pick<T>(list: readonly T[], random: Random): T | undefined {
  return list[random.integer(list.length)]
}

/** Draws two elements; fewer if the list has fewer. */
function pickTwo<T>(list: readonly T[], random: Random): (T | undefined)[] {
  const first = random.integer(list.length)
  return [list[first], pick(list.toSpliced(first, 1), random)]
}

/** The number of events of the world makes the name unique among storms. */
function newName({ world }: Theatre, index: number): PeerId {
  return `joiner-${world.fired}-${index}`
}
