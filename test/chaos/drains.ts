/**
 * Leaving in order, with real processes: one holder for each stage, and a spare. Holders leave one after another, by a
 * spot notice and by SIGTERM in turn. Another process must hold the stage first, and no microbatch may be lost.
 */
import { systemClock } from '../../protocols/clock.ts'
import type { Entry } from '../../src/base/journal.ts'
import { type MetadataServer, startMetadataServer } from './metadata-server.ts'
import { Swarm } from './swarm.ts'

/** Steps of the run, which is stopped earlier, after the last drain. */
const STEPS = 100_000
/** Types of entries that a run without a loss never writes. */
const LOSSES: readonly string[] = ['amended', 'aborted', 'lost']

export interface Drains {
  readonly drained: number
  readonly problems: readonly string[]
  /** Last step before the swarm was stopped. */
  readonly steps: number
  /** Entries until then. */
  readonly entries: readonly Entry[]
  readonly swarm: Swarm
}

export async function drainAll(count: number, log: (text: string) => void): Promise<Drains> {
  const server = await startMetadataServer()
  const argsOf = (machine: number) => ['--spot', 'aws', '--spot-url', server.urlOf(machine)]
  const swarm = await Swarm.start({ size: 5, steps: STEPS, argsOf })
  const problems: string[] = []
  let drained = 0
  try {
    for (let i = 0; i < count; i++) {
      await swarm.until('a whole swarm', () => swarm.whole)
      const failures = await drain(swarm, server, i, log)
      if (failures.length === 0) drained++
      problems.push(...failures)
      swarm.launch()
    }
  } catch (error) {
    problems.push((error as Error).message)
  }
  const entries = [...swarm.entries]
  const { step: steps } = swarm
  for (const entry of entries) {
    if (LOSSES.includes(entry.type)) problems.push(`${JSON.stringify(entry)}`)
  }
  await swarm.close()
  server.close()
  return { drained, problems, steps, entries, swarm }
}

/** Makes the holder of a stage leave. The stages take turns. Gives the problems. */
async function drain(
  swarm: Swarm,
  server: MetadataServer,
  turn: number,
  log: (text: string) => void,
): Promise<string[]> {
  // The coordinator leaves sometimes, but not each time. The next member of the roster succeeds it.
  const stage = (3 * turn) % (swarm.run.stages + 1)
  const [leaver] = swarm.holdersOf(stage)
  if (leaver === undefined) return [`nobody holds stage ${stage}`]
  const { peer, pid, number } = leaver
  const coordinates = peer === swarm.coordinator
  await swarm.next('a step', ({ type }) => type === 'step')
  const startMs = systemClock.now()
  const by = turn % 2 === 0 ? 'spot notice' : 'SIGTERM'
  if (by === 'SIGTERM') swarm.signal(leaver, by)
  else server.takeBack(number)
  const exit = await leaver.exited
  const since = (at: number | undefined) =>
    at === undefined ? 'never' : `after ${((at - startMs) / 1000).toFixed(2)} s`
  const later = swarm.entries.filter(({ at }) => at >= startMs)
  const held = later.find((entry) => entry.type === 'held' && entry.stage === stage)
  const gone = later.find((entry) => entry.type === 'finished' && entry.peer === peer)
  log(
    `${by} to ${pid} (…${peer.slice(-6)}, stage ${stage}${coordinates ? ', coordinator' : ''}): ` +
      `held again ${since(held?.at)}, gone ${since(gone?.at)}, exit ${exit}`,
  )
  const problems: string[] = []
  if (exit !== 0) problems.push(`process ${pid} ended with ${exit}`)
  if (!(held !== undefined && gone !== undefined && held.at <= gone.at)) {
    problems.push(`stage ${stage} was not held by another before ${pid} had gone`)
  }
  return problems
}
