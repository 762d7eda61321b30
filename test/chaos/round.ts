/** One round: a swarm of processes, the faults that the round's seed draws, and the verdict. */
import { systemClock } from '../../protocols/clock.ts'
import { Random } from '../../stages/random.ts'
import {
  momentOf,
  type PlannedFault,
  type PlanOptions,
  planOf,
  RETURNS,
  victimsOf,
} from './faults.ts'
import { type Hit, judge, type Verdict } from './judge.ts'
import { type Process, Swarm } from './swarm.ts'

export interface RoundOptions extends PlanOptions {
  readonly seed: number
  /** Number of processes. */
  readonly size: number
  /** Losses of the undisturbed run, from step 1 on. */
  readonly reference: readonly number[]
  log(text: string): void
}

/** First fault of a pair: the second one comes while the swarm recovers from it. */
const PRELUDE = {
  name: 'kill a holder',
  victims: 'holder',
  signal: 'SIGKILL',
  returns: 'missed',
  moment: 'after a step',
} as const

export async function playRound(options: RoundOptions): Promise<Verdict & { swarm: Swarm }> {
  const { seed, size, steps, reference, log } = options
  const random = new Random('chaos').stream(seed)
  const swarm = await Swarm.start({ size, steps })
  const hits: Hit[] = []
  const problems: string[] = []
  try {
    for (const fault of planOf(random.stream('plan'), options)) {
      const ready = () => swarm.step >= fault.step && swarm.whole
      await swarm.until(`step ${fault.step} and a whole swarm`, () => ready() || swarm.over)
      if (swarm.over) {
        problems.push(`the run was over before its time to ${fault.name}`)
        break
      }
      const struck = await play(swarm, fault, random.stream(fault.step))
      for (const { hit } of struck) hits.push(hit)
      await Promise.all(struck.map(({ returned }) => returned))
    }
    await swarm.until('the last step', () => swarm.over)
  } catch (error) {
    problems.push((error as Error).message)
  }
  const hanging = await swarm.end()
  for (const { pid } of hanging) problems.push(`process ${pid} did not end by itself`)
  await swarm.close()
  const exits = await Promise.all(
    swarm.processes.map(async (process) => ({
      ...process,
      member: swarm.isMember(process),
      exit: await process.exited,
    })),
  )
  const { entries, run } = swarm
  const verdict = judge({ entries, run, hits, exits, reference })
  for (const { text } of verdict.faults) log(text)
  return { ...verdict, problems: [...problems, ...verdict.problems], swarm }
}

interface Struck {
  readonly hit: Hit
  /** Resolves when the victims that return are running again. */
  readonly returned: Promise<unknown>
}

async function play(swarm: Swarm, fault: PlannedFault, random: Random): Promise<Struck[]> {
  const { moment } = fault
  if (moment !== 'during a recovery') {
    await momentOf(moment, swarm)
    return [strike(swarm, fault, random)]
  }
  await momentOf(PRELUDE.moment, swarm)
  const noticed = momentOf(moment, swarm)
  const first = strike(swarm, { ...PRELUDE, step: fault.step }, random.stream('prelude'))
  await noticed
  return [first, strike(swarm, fault, random)]
}

function strike(swarm: Swarm, fault: PlannedFault, random: Random): Struck {
  const victims = victimsOf(fault, swarm, random)
  const hit: Hit = {
    fault,
    step: swarm.step,
    at: systemClock.now(),
    victims: victims.map((process) => ({
      pid: process.pid,
      peer: process.peer,
      stage: swarm.stageOf(process),
      coordinated: process.peer === swarm.coordinator,
    })),
  }
  // The wait for the detection starts before the signal is sent.
  const returns = victims.map((process) => comeBack(swarm, fault, process))
  for (const process of victims) swarm.signal(process, fault.signal)
  return { hit, returned: Promise.all(returns) }
}

async function comeBack(swarm: Swarm, fault: PlannedFault, process: Process): Promise<void> {
  await RETURNS[fault.returns](swarm, process)
  if (fault.signal === 'SIGSTOP') swarm.signal(process, 'SIGCONT')
  else if (fault.returns !== 'never') {
    await process.exited
    swarm.launch()
  }
}
