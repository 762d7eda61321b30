import { expect, test } from 'vitest'
import { shaken } from '../../../sim/world/shaken-stage.ts'
import { timedStage } from '../../../sim/world/stage.ts'
import { World } from '../../../sim/world/world.ts'
import { stageConfig } from '../../../src/run/run.ts'
import { createLocalStage } from '../../../stages/onnx-stage.ts'
import { Random } from '../../../stages/random.ts'
import { tinyRun } from '../../fixtures/swarm.ts'

const COST_MS = { forward: 10, backward: 20 } as const

async function setUp() {
  const world = new World({ seed: 1 })
  const config = stageConfig(tinyRun())
  const options = { provider: 'cpu', threads: 1, random: new Random('stage') } as const
  const real = await createLocalStage(config, 1, options)
  const timed = timedStage(real, world, (method) => COST_MS[method as 'forward'] ?? 0)
  const { batch, context } = config.microbatch
  const input = new Float32Array(batch * context * config.model.hiddenSize).fill(0.5)
  const run = <T>(outcome: Promise<T>) => world.run(outcome, { waitingFor: 'the stage' })
  return { world, real, timed, input, run }
}

test('a timed stage computes what its inner stage computes, in the stated time', async () => {
  const { world, real, timed, input, run } = await setUp()
  const output = await run(timed.forward(input))
  expect(world.clock.now()).toBe(10)
  expect(output).toEqual(await shaken(real).forward(input))
  expect([timed.kind, timed.parameters, timed.weights]).toEqual([
    'body',
    real.parameters,
    real.weights,
  ])
  await run(timed.close())
  expect(world.clock.now()).toBe(10)
  await expect(real.forward(input)).rejects.toThrow('closed')
})

test('a timed stage does one call at a time', async () => {
  const { world, timed, input, run } = await setUp()
  const ends: string[] = []
  const note = (what: string) => () => ends.push(`${world.clock.now()} ${what}`)
  await run(
    Promise.all([
      timed.forward(input).then(note('forward')),
      timed.backward(input, input).then(note('backward')),
      world.clock
        .sleep(5)
        .then(() => timed.forward(input))
        .then(note('another forward')),
    ]),
  )
  expect(ends).toEqual(['10 forward', '30 backward', '40 another forward'])
  await run(timed.close())
})

test('a call of a timed stage that fails takes its time, too', async () => {
  const { world, timed, run } = await setUp()
  const failed = timed.forward(new Float32Array(1)).catch(() => world.clock.now())
  expect(await run(failed)).toBe(10)
  await run(timed.close())
})
