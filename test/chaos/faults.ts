/** The faults that are injected into a swarm of processes, and their moments: tables from which a round's seed draws. */
import { systemClock } from '../../protocols/clock.ts'
import type { Random } from '../../stages/random.ts'
import type { Process, Swarm } from './swarm.ts'

/** Choice of the victims of a fault. There are none if no stage has a second holder. */
const VICTIMS = {
  holder: (swarm: Swarm, random: Random) => someWithTwin(swarm, random, 1),
  'two holders': (swarm: Swarm, random: Random) => someWithTwin(swarm, random, 2),
  'three holders': (swarm: Swarm, random: Random) => someWithTwin(swarm, random, 3),
  coordinator: (swarm: Swarm, random: Random) => {
    const process = swarm.processOf(swarm.coordinator)
    const stage = process && swarm.stageOf(process)
    // A coordinator that is the only holder of its stage is not chosen.
    const dispensable = process && (stage == null || swarm.holdersOf(stage).length > 1)
    return dispensable ? [process] : someWithTwin(swarm, random, 1)
  },
  'whole stage': (swarm: Swarm, random: Random) =>
    swarm.holdersOf(1 + random.integer(swarm.run.stages)),
} as const

/** Waits until a victim returns. */
export const RETURNS = {
  never: async () => {},
  'at once': async () => {},
  /** Before the loss can be detected. */
  soon: async () => systemClock.sleep(SOON_MS),
  /** After two steps without the victim. */
  missed: async (swarm: Swarm, { peer }: Process) => {
    const coordinates = swarm.coordinator === peer
    await swarm.next(`${peer} to be missed`, (entry) =>
      coordinates ? entry.type === 'elected' : entry.type === 'lost' && entry.lost === peer,
    )
    const { step } = swarm
    await swarm.until('two steps without it', () => swarm.step >= step + 2 || swarm.over)
  },
} as const

const SOON_MS = 1_500

interface Fault {
  readonly victims: keyof typeof VICTIMS
  readonly signal: 'SIGKILL' | 'SIGSTOP'
  /** Moment at which a killed process is started again, or a frozen one continues. */
  readonly returns: keyof typeof RETURNS
}

const FAULTS = {
  'kill a holder': { victims: 'holder', signal: 'SIGKILL', returns: 'missed' },
  'kill a holder for good': { victims: 'holder', signal: 'SIGKILL', returns: 'never' },
  'kill a holder and start it again': { victims: 'holder', signal: 'SIGKILL', returns: 'at once' },
  'kill two at once': { victims: 'two holders', signal: 'SIGKILL', returns: 'missed' },
  'kill three at once': { victims: 'three holders', signal: 'SIGKILL', returns: 'missed' },
  'kill the coordinator': { victims: 'coordinator', signal: 'SIGKILL', returns: 'missed' },
  'kill the coordinator and start it again': {
    victims: 'coordinator',
    signal: 'SIGKILL',
    returns: 'at once',
  },
  'freeze a holder for a moment': { victims: 'holder', signal: 'SIGSTOP', returns: 'soon' },
  'freeze the coordinator for a moment': {
    victims: 'coordinator',
    signal: 'SIGSTOP',
    returns: 'soon',
  },
  'freeze a holder': { victims: 'holder', signal: 'SIGSTOP', returns: 'missed' },
  'freeze two at once': { victims: 'two holders', signal: 'SIGSTOP', returns: 'missed' },
  'freeze the coordinator': { victims: 'coordinator', signal: 'SIGSTOP', returns: 'missed' },
  'kill a whole stage': { victims: 'whole stage', signal: 'SIGKILL', returns: 'missed' },
} as const satisfies Record<string, Fault>

type FaultName = keyof typeof FAULTS

/** Moments of faults, each defined by an event of the swarm. */
const MOMENTS = {
  'after a step': async (swarm: Swarm) => {
    await swarm.next('a step', ({ type }) => type === 'step')
  },
  'while a step is applied': async (swarm: Swarm) => {
    await swarm.next('a holder to apply a step', ({ type }) => type === 'committed')
  },
  'in the middle of a step': async (swarm: Swarm) => {
    const entry = await swarm.next('a step', ({ type }) => type === 'step')
    if (entry.type === 'step') await systemClock.sleep((entry.seconds * 1000) / 2)
  },
  /** The caller kills another holder first. The fault comes when this loss is detected. */
  'during a recovery': async (swarm: Swarm) => {
    await swarm.next('a loss', ({ type }) => RECOVERY.has(type))
  },
} as const

const RECOVERY: ReadonlySet<string> = new Set(['lost', 'elected'])

type Moment = keyof typeof MOMENTS

export interface PlannedFault extends Fault {
  readonly name: FaultName
  /** Step after which the fault may come. */
  readonly step: number
  readonly moment: Moment
}

/** Number of steps of the run for each fault, so that the swarm has time to recover. */
const STEPS_A_FAULT = 33
/** Share of the run's steps in which faults come. The last fault needs time for its recovery, too. */
const LAST_FAULT = 0.7

export interface PlanOptions {
  readonly steps: number
  /** True if one of the faults is the loss of a whole stage. */
  readonly loseStage: boolean
  /** The fault that every draw gives; undefined for draws from the table. */
  readonly only: FaultName | undefined
}

export function faultNamed(name: string): FaultName {
  if (Object.hasOwn(FAULTS, name)) return name as FaultName
  throw new Error(`no fault is named "${name}"; there are ${Object.keys(FAULTS).join(', ')}`)
}

/** Draws the faults of a round. */
export function planOf(random: Random, { steps, loseStage, only }: PlanOptions): PlannedFault[] {
  const count = Math.max(1, Math.round(steps / STEPS_A_FAULT))
  const losing = loseStage ? random.integer(count) : -1
  const names = (Object.keys(FAULTS) as FaultName[]).filter((name) => name !== 'kill a whole stage')
  const moments = Object.keys(MOMENTS) as Moment[]
  return Array.from({ length: count }, (_, i) => {
    const drawn = names[random.integer(names.length)]!
    const name = only ?? (i === losing ? 'kill a whole stage' : drawn)
    const moment = moments[random.integer(moments.length)]!
    const step = Math.floor(((i + random.float()) * LAST_FAULT * steps) / count) + 1
    return { ...FAULTS[name], name, moment, step }
  })
}

/** Resolves at the moment of a fault. */
export function momentOf(moment: Moment, swarm: Swarm): Promise<void> {
  return MOMENTS[moment](swarm)
}

/** Chooses the victims of a fault. The rest of the swarm always keeps a majority. */
export function victimsOf({ victims }: Fault, swarm: Swarm, random: Random): Process[] {
  return VICTIMS[victims](swarm, random).slice(0, Math.max(0, swarm.dispensable))
}

/** Chooses up to `count` holders, but never the last holder of a stage. */
function someWithTwin(swarm: Swarm, random: Random, count: number): Process[] {
  const victims: Process[] = []
  for (let i = 0; i < count; i++) {
    const left = swarm.holders.filter((process) => !victims.includes(process))
    const candidates = left.filter((process) => {
      const stage = swarm.stageOf(process)
      return left.filter((other) => swarm.stageOf(other) === stage).length > 1
    })
    if (candidates.length > 0) victims.push(candidates[random.integer(candidates.length)]!)
  }
  return victims
}
