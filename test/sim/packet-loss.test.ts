/** A minute in which packets are lost: TCP sends each of them again, after a pause that doubles. */
import { expect, test } from 'vitest'
import { Random } from '../../stages/random.ts'
import { entriesOf, tinyRun } from '../fixtures/swarm.ts'
import { TestSwarm } from '../fixtures/virtual-swarm.ts'

const STAGES = 2
const LOSSY_FROM_MS = 10_000
const LOSSY_TO_MS = 70_000
/** TCP's first pause before it sends a packet again, in milliseconds. */
const RETRANSMISSION_MS = 200
/** Longest time after the last loss until the swarm has its full speed again. */
const RECOVERED_MS = 20_000

const run = tinyRun({
  stages: STAGES,
  steps: 110,
  spares: 1,
  microbatches: 2,
  model: { ...tinyRun().model, layers: STAGES },
})

/** Plays a swarm of four peers. @param share of the packets that are lost for a minute */
async function play(share: number) {
  const swarm = new TestSwarm(run)
  const random = new Random(`packet loss ${share}`)
  for (let i = 1; i <= 4; i++) swarm.join(`peer-${i}`)
  swarm.world.schedule(LOSSY_FROM_MS, 'packets are lost', () => {
    const heal = swarm.network.disturb(() => {
      let delayMs = 0
      for (let pause = RETRANSMISSION_MS; random.float() < share; pause *= 2) delayMs += pause
      return delayMs === 0 ? undefined : { delayMs }
    })
    swarm.world.schedule(LOSSY_TO_MS - LOSSY_FROM_MS, 'no packet is lost any more', heal)
  })
  await swarm.end(3_600_000)
  const steps = entriesOf(swarm.entries, 'step')
  expect(steps.at(-1)!.step).toBe(run.steps)
  const rate = (from: number, to: number) =>
    steps.filter(({ at }) => at >= from && at < to).length / (to - from)
  return { swarm, rate }
}

test('at 5 % no member changes', async () => {
  const { swarm } = await play(0.05)
  expect(entriesOf(swarm.entries, 'lost')).toEqual([])
  expect(entriesOf(swarm.entries, 'dropped')).toEqual([])
  expect(entriesOf(swarm.entries, 'elected')).toEqual([])
})

test('at 30 % the swarm has its full speed again 20 s after', async () => {
  const { swarm, rate } = await play(0.3)
  const before = rate(2_000, LOSSY_FROM_MS)
  const from = LOSSY_TO_MS + RECOVERED_MS
  expect(rate(from, from + 8_000)).toBeGreaterThan(0.8 * before)
  expect(entriesOf(swarm.entries, 'elected')).toEqual([])
  expect(entriesOf(swarm.entries, 'lost')).toEqual([])
})
