/** Replicas in real processes: the run continues undisturbed after a kill, and while a process is frozen. */
import { expect, onTestFinished, test } from 'vitest'
import { judge } from '../chaos/judge.ts'
import { undisturbed } from '../chaos/reference.ts'
import { Swarm } from '../chaos/swarm.ts'

/** A swarm with two holders of the ends, one holder of the body, and a spare. */
async function started(): Promise<Swarm> {
  const swarm = await Swarm.start({ size: 4, steps: 100_000, run: { stages: '1', layers: '1' } })
  onTestFinished(() => swarm.close())
  await swarm.until('a whole swarm at work', () => swarm.whole && swarm.holdersOf(0).length === 2)
  await swarm.next('a step', ({ type }) => type === 'step')
  return swarm
}

/** Deadline of a test. A single process repeats all steps of the swarm, which takes a minute on a busy machine. */
const TIMEOUT = { timeout: 240_000 }

/** Checks that every step was committed once, with the losses of a single process. */
async function expectUndisturbed({ entries, run: whole, step: steps }: Swarm): Promise<void> {
  const run = { ...whole, steps }
  const reference = await undisturbed(run, steps)
  const { problems } = judge({ entries, run, hits: [], exits: [], reference })
  expect(problems).toEqual([])
}

test(
  'after the kill of the founder another member coordinates, and no step is lost or committed twice',
  TIMEOUT,
  async () => {
    const swarm = await started()
    const founder = swarm.processOf(swarm.coordinator)!
    expect(swarm.stageOf(founder)).toBe(0)
    swarm.signal(founder, 'SIGKILL')
    await swarm.until('another to coordinate', () => swarm.coordinator !== founder.peer)
    const { step } = swarm
    await swarm.until('the run to go on', () => swarm.step >= step + 5)
    await expectUndisturbed(swarm)
  },
)

test(
  'the swarm continues without a frozen holder, and admits it again afterwards',
  TIMEOUT,
  async () => {
    const swarm = await started()
    const frozen = swarm.holdersOf(0).find(({ peer }) => peer !== swarm.coordinator)!
    swarm.signal(frozen, 'SIGSTOP')
    const sign = await swarm.next('it to be missed', (entry) => entry.type === 'lost')
    expect(sign).toMatchObject({ lost: frozen.peer, stage: 0 })
    const { step } = swarm
    await swarm.until('the run to go on', () => swarm.step >= step + 5)
    swarm.signal(frozen, 'SIGCONT')
    await swarm.next('it to join again', (entry) => entry.type === 'joined')
    await expectUndisturbed(swarm)
  },
)
