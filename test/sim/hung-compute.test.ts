/** A holder whose compute never ends, while its process answers everybody. */
import { describe, expect, test } from 'vitest'
import { entriesOf, tinyRecovery, tinyRun } from '../fixtures/swarm.ts'
import { TestSwarm } from '../fixtures/virtual-swarm.ts'

const STAGES = 2
const STEPS = 20
/** The step in which the compute hangs. */
const HUNG_STEP = 6
const NEVER_MS = 1e9
const COMPUTE_MS = 40

const run = tinyRun({
  stages: STAGES,
  steps: STEPS,
  spares: 1,
  microbatches: 4,
  model: { ...tinyRun().model, layers: STAGES },
  recovery: tinyRecovery({
    policy: ['shadow'],
    shadow: { ...tinyRecovery().shadow, everySteps: 2, endsEverySteps: 2 },
  }),
})

/** Plays a swarm in which the next call of one stage's compute never ends. */
async function hung(peers: number, stage: number) {
  let victim: string | null = null
  let isHanging = false
  const swarm = new TestSwarm(run, {
    computeMs: (peer) => {
      if (peer !== victim || isHanging) return COMPUTE_MS
      isHanging = true
      return NEVER_MS
    },
  })
  let hungAt = Number.POSITIVE_INFINITY
  let holder = ''
  swarm.onEntry((entry) => {
    if (entry.type === 'roster') {
      holder = entry.roster.members.find((member) => member.stage === stage)?.peer ?? holder
    }
    if (entry.type !== 'step' || entry.step !== HUNG_STEP - 1 || victim !== null) return
    hungAt = swarm.world.clock.now()
    victim = holder
  })
  for (let i = 1; i <= peers; i++) swarm.join(`peer-${i}`)
  await swarm.end(3_600_000)
  const steps = entriesOf(swarm.entries, 'step')
  expect(steps.at(-1)!.step).toBe(STEPS)
  const { at } = steps.find(({ step }) => step === HUNG_STEP)!
  return { swarm, victim: victim!, hungMs: at - hungAt }
}

/** What one peer reads. */
function wordsOf(swarm: TestSwarm, peer: string): string {
  const notices = entriesOf(swarm.entries, 'notice').filter((entry) => entry.peer === peer)
  return notices.map(({ message }) => message).join('\n')
}

describe('a holder that is the only one of its stage', () => {
  test('loses it to a spare, and all members read for whom they wait, and why', async () => {
    const { swarm, victim, hungMs } = await hung(4, 2)
    expect(hungMs).toBeLessThan(35_000)
    const lost = entriesOf(swarm.entries, 'lost')
    expect(lost).toMatchObject([{ lost: victim, stage: 2 }])
    expect(lost[0]!.reason).toContain('its compute hangs')
    expect(entriesOf(swarm.entries, 'dropped')[0]!.reason).toContain('its compute hangs')
    for (const peer of ['peer-1', 'peer-2', 'peer-3', 'peer-4']) {
      const words = wordsOf(swarm, peer)
      expect(words).toContain(`step ${HUNG_STEP} takes long, and waits for ${victim} (stage 2)`)
      expect(words).toContain(`${victim} loses stage 2: its compute hangs`)
    }
  })

  test('is waited for longer without a spare, and then builds the stage anew itself', async () => {
    const { swarm, victim, hungMs } = await hung(3, 2)
    expect(hungMs).toBeGreaterThan(60_000)
    expect(hungMs).toBeLessThan(90_000)
    const held = entriesOf(swarm.entries, 'held').at(-1)!
    expect(held).toMatchObject({ stage: 2, by: victim, cause: 'lost' })
  })

  test('loses it, and stays the coordinator', async () => {
    const { swarm, victim, hungMs } = await hung(4, 0)
    expect(hungMs).toBeLessThan(35_000)
    expect(victim).toBe('peer-1')
    expect(entriesOf(swarm.entries, 'elected')).toEqual([])
    const held = entriesOf(swarm.entries, 'held').at(-1)!
    expect(held).toMatchObject({ stage: 0, cause: 'lost' })
    expect(held.by).not.toBe(victim)
  })
})
