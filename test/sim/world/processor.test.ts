import { describe, expect, test } from 'vitest'
import { Processor } from '../../../sim/world/processor.ts'
import { shaken } from '../../../sim/world/shaken-stage.ts'
import { sharingStage } from '../../../sim/world/stage.ts'
import { World } from '../../../sim/world/world.ts'
import { stageConfig } from '../../../src/run/run.ts'
import { createLocalStage } from '../../../stages/onnx-stage.ts'
import { Random } from '../../../stages/random.ts'
import { tinyRun } from '../../fixtures/swarm.ts'

/** The times at which jobs are done, given the start of each and its length without others. */
async function ends(cores: number, jobs: readonly (readonly [at: number, ms: number])[]) {
  const world = new World({ seed: 1 })
  const processor = new Processor(world, cores)
  const all = jobs.map(async ([at, ms]) => {
    await world.clock.sleep(at)
    await processor.start().compute(ms)
    return world.clock.now()
  })
  return world.run(Promise.all(all), { waitingFor: 'the jobs' })
}

/** Long because it has one case for each rule of sharing. */
describe('cores are shared evenly', () => {
  test('as many jobs as cores do not slow each other down', async () => {
    expect(
      await ends(2, [
        [0, 100],
        [0, 50],
      ]),
    ).toEqual([100, 50])
  })

  test('three equal jobs on two cores take 1.5 times as long', async () => {
    expect(
      await ends(2, [
        [0, 100],
        [0, 100],
        [0, 100],
      ]),
    ).toEqual([150, 150, 150])
  })

  test('a later job slows the others down, and a job that ends speeds them up', async () => {
    // Alone for 50 ms, then both at half speed until the short job has its 20 ms, then alone again.
    expect(
      await ends(1, [
        [0, 100],
        [50, 20],
      ]),
    ).toEqual([120, 90])
  })

  test('two cores that slow each other down are worth fewer', async () => {
    expect(await ends(1.6, [[0, 80]])).toEqual([80])
    expect(
      await ends(1.6, [
        [0, 80],
        [0, 80],
      ]),
    ).toEqual([100, 100])
  })

  test('no job waits if each has a core', async () => {
    expect(
      await ends(Infinity, [
        [0, 1],
        [0, 2],
        [0, 3],
      ]),
    ).toEqual([1, 2, 3])
  })

  test('whatever the jobs, no work is lost, and none is done twice', async () => {
    const random = new Random('jobs')
    for (let round = 0; round < 20; round++) {
      const cores = 1 + random.integer(3)
      const jobs = Array.from(
        { length: 12 },
        () => [random.integer(50), 1 + random.integer(30)] as const,
      )
      const done = await ends(cores, jobs)
      for (const [i, [at, ms]] of jobs.entries()) {
        expect(done[i]).toBeGreaterThanOrEqual(at + ms - 1e-9)
      }
      // The cores must have had time for all jobs, and no job has more than one core.
      const work = jobs.reduce((sum, [, ms]) => sum + ms, 0)
      const last = Math.max(...done)
      expect(last * cores).toBeGreaterThanOrEqual(work - 1e-9)
      expect(await ends(cores, jobs)).toEqual(done)
    }
  })
})

test('a process that has ended takes no time from the others', async () => {
  const world = new World({ seed: 1 })
  const processor = new Processor(world, 1)
  const [killed, left] = [processor.start(), processor.start()]
  const over: string[] = []
  const note = (what: string) => () => over.push(`${what} ${world.clock.now()}`)
  const all = Promise.all([
    killed.compute(100).then(note('killed')),
    left.compute(100).then(note('left')),
    world.clock.sleep(40).then(() => killed.end()),
  ])
  await world.run(all, { waitingFor: 'both' })
  // The job has had 20 of its 40 ms.
  expect(over).toEqual(['killed 40', 'left 120'])
  await killed.compute(1_000)
  expect(world.clock.now()).toBe(120)
})

test('two stages on one core compute the usual outputs, one call at a time each, in the time of both', async () => {
  const world = new World({ seed: 1 })
  const processor = new Processor(world, 1)
  const config = stageConfig(tinyRun())
  const options = { provider: 'cpu', threads: 1, random: new Random('stage') } as const
  const real = await createLocalStage(config, 1, options)
  const [one, other] = [0, 1].map(() => sharingStage(real, processor.start(), () => 10))
  const { batch, context } = config.microbatch
  const input = new Float32Array(batch * context * config.model.hiddenSize).fill(0.5)
  const at: number[] = []
  const note = () => at.push(world.clock.now())
  const outputs = [one!.forward(input), one!.forward(input), other!.forward(input)]
  for (const output of outputs) void output.then(note)
  const [output] = await world.run(Promise.all(outputs), { waitingFor: 'the stages' })
  expect(output).toEqual(await shaken(real).forward(input))
  expect(at).toEqual([20, 20, 30])
  const failed = one!.forward(new Float32Array(1)).catch(() => world.clock.now())
  expect(await world.run(failed, { waitingFor: 'the failure' })).toBe(40)
  await real.close()
})
