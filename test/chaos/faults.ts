/** What is done to a swarm of processes, and when: tables, from which a round's seed draws. */
import { systemClock } from '../../protocols/clock.ts'
import type { Random } from '../../stages/random.ts'
import type { Process, Swarm } from './swarm.ts'

/** Whom a fault hits. None if there is nobody whose stage another holds. */
const VICTIMS = {
  holder: (swarm: Swarm, random: Random) => someWithTwin(swarm, random, 1),
  'two holders': (swarm: Swarm, random: Random) => someWithTwin(swarm, random, 2),
  'three holders': (swarm: Swarm, random: Random) => someWithTwin(swarm, random, 3),
  coordinator: (swarm: Swarm, random: Random) => {
    const process = swarm.processOf(swarm.coordinator)
    const stage = process && swarm.stageOf(process)
    // A coordinator that alone holds its stage is spared.
    const dispensable = process && (stage == null || swarm.holdersOf(stage).length > 1)
    return dispensable ? [process] : someWithTwin(swarm, random, 1)
  },
  'whole stage': (swarm: Swarm, random: Random) =>
    swarm.holdersOf(1 + random.integer(swarm.run.stages)),
} as const

/** When a process that was hit comes back, if it does. */
export const RETURNS = {
  never: async () => {},
  'at once': async () => {},
  /** Before anyone can have missed it. */
  soon: async () => systemClock.sleep(SOON_MS),
  /** When the swarm has gone on without it. */
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
  /** A killed process is started again, a frozen one goes on. */
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

/** When a fault comes, by what the swarm has just done. */
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
  /** Another holder is killed first; as soon as that is noticed, the fault comes. */
  'during a recovery': async (swarm: Swarm) => {
    await swarm.next('a loss', ({ type }) => RECOVERY.has(type))
  },
} as const

const RECOVERY: ReadonlySet<string> = new Set(['lost', 'elected'])

type Moment = keyof typeof MOMENTS

export interface PlannedFault extends Fault {
  readonly name: FaultName
  /** Not before this step is made. */
  readonly step: number
  readonly moment: Moment
}

/** Steps of the run for each fault: time to come back from it. */
const STEPS_A_FAULT = 33
/** Of the run's steps; the last fault needs its time, too. */
const LAST_FAULT = 0.7

export interface PlanOptions {
  readonly steps: number
  /** Makes one of them the loss of a whole stage. */
  readonly loseStage: boolean
  /** The only one to draw; undefined draws from the table. */
  readonly only: FaultName | undefined
}

export function faultNamed(name: string): FaultName {
  if (Object.hasOwn(FAULTS, name)) return name as FaultName
  throw new Error(`no fault is named "${name}"; there are ${Object.keys(FAULTS).join(', ')}`)
}

/** The faults of a round. */
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

/** Resolves when the moment has come. */
export function momentOf(moment: Moment, swarm: Swarm): Promise<void> {
  return MOMENTS[moment](swarm)
}

/** Whom a fault is to hit now: always less than a majority. */
export function victimsOf({ victims }: Fault, swarm: Swarm, random: Random): Process[] {
  return VICTIMS[victims](swarm, random).slice(0, Math.max(0, swarm.dispensable))
}

/** Up to `count` holders, never the last one of a stage. */
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
