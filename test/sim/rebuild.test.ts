/** A rebuild goes on when other members are lost meanwhile. */
import { expect, test } from 'vitest'
import { createLocalStage } from '../../stages/onnx-stage.ts'
import { entriesOf, tinyRecovery, tinyRun } from '../fixtures/swarm.ts'
import { TestSwarm } from '../fixtures/virtual-swarm.ts'

const STAGES = 4
const STEPS = 6
const LOST_AFTER = 3
const BUILD_MS = 20_000
const SPARES = 3

/**
 * Plays a run in which the holder of stage 2 is killed after a step, and then another peer while stage 2 is being rebuilt.
 * @param kill names the other peer, by the holders of the stages and the spares, in the order of joining
 */
async function losing(kill: (holders: ReadonlyMap<number, string>) => string) {
  const recovery = tinyRecovery({ policy: ['shadow', 'checkfree', 'copy', 'random'] })
  const run = tinyRun({ steps: STEPS, stages: STAGES, spares: SPARES, recovery })
  const builds: number[] = []
  const swarm = new TestSwarm(run, {
    buildMs: BUILD_MS,
    create: (config, index, options) => {
      builds.push(index)
      return createLocalStage(config, index, options)
    },
  })
  const holders = new Map<number, string>()
  let lostAt = 0
  swarm.onEntry((entry) => {
    if (entry.type === 'held') holders.set(entry.stage, entry.by)
    if (entry.type !== 'step' || entry.step !== LOST_AFTER || lostAt > 0) return
    lostAt = entry.at
    swarm.kill(holders.get(2)!)
    swarm.world.schedule(BUILD_MS / 2, 'another peer is killed', () => swarm.kill(kill(holders)))
  })
  for (let i = 1; i <= STAGES + 1 + SPARES; i++) swarm.join(`peer-${i}`)
  await swarm.end()
  const steps = entriesOf(swarm.entries, 'step').map(({ step }) => step)
  expect(steps).toEqual(Array.from({ length: STEPS }, (_, i) => i + 1))
  const held = entriesOf(swarm.entries, 'held').filter(({ cause }) => cause === 'lost')
  return {
    /** How often stage 2 was built after its loss. */
    builds: builds.filter((index) => index === 2).length - 1,
    heldAfterMs: (stage: number) => held.findLast((each) => each.stage === stage)!.at - lostAt,
    coordinators: new Set(entriesOf(swarm.entries, 'roster').map(({ peer }) => peer)).size,
  }
}

test('another holder is lost: the rebuild goes on beside the second one', async () => {
  const { builds, heldAfterMs } = await losing((holders) => holders.get(4)!)
  expect(builds).toBe(1)
  expect(heldAfterMs(2)).toBeLessThan(1.4 * BUILD_MS)
  expect(heldAfterMs(4)).toBeLessThan(1.9 * BUILD_MS)
})

test('the coordinator is lost: the next one takes over the rebuild', async () => {
  const { builds, heldAfterMs, coordinators } = await losing((holders) => holders.get(0)!)
  expect(coordinators).toBe(2)
  expect(builds).toBe(1)
  expect(heldAfterMs(2)).toBeLessThan(1.4 * BUILD_MS)
})

test('the builder itself is lost: another member rebuilds the stage', async () => {
  const { builds, heldAfterMs } = await losing(() => 'peer-6')
  expect(builds).toBe(2)
  expect(heldAfterMs(2)).toBeLessThan(1.9 * BUILD_MS)
})
