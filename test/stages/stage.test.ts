/** Behaviour of every stage, in this thread and in its own thread. */
import { afterEach, describe, expect, it } from 'vitest'
import type { StageOptions } from '../../stages/engine.ts'
import type { StageConfig } from '../../stages/model.ts'
import { createLocalStage } from '../../stages/onnx-stage.ts'
import { openSessions } from '../../stages/session.ts'
import type { AnyStage, BodyStage, EndsStage } from '../../stages/stage.ts'
import { createWorkerStage } from '../../stages/worker-stage.ts'
import { activation, config, options, tokens } from './fixtures.ts'

type Create = (config: StageConfig, stage: number, options: StageOptions) => Promise<AnyStage>

const update = { gradientScale: 0.5, learningRate: 0.01 }

describe.each<[string, Create]>([
  ['local', createLocalStage],
  ['worker', createWorkerStage],
])('a %s stage', (_, create) => {
  let stage: AnyStage
  afterEach(() => stage.close())

  async function body(): Promise<BodyStage> {
    const created = (await create(config, 2, options)) as BodyStage
    stage = created
    return created
  }

  async function ends(): Promise<EndsStage> {
    const created = (await create(config, 0, options)) as EndsStage
    stage = created
    return created
  }

  it('has the parameter names of Hugging Face', async () => {
    const { kind, parameters, weights } = await body()
    expect(kind).toBe('body')
    expect(parameters).toHaveLength(18)
    expect(parameters[1]).toEqual({
      name: 'model.layers.2.self_attn.q_proj.weight',
      shape: [24, 24],
      offset: 24,
      length: 576,
    })
    expect(weights.length).toBeGreaterThanOrEqual(parameters.reduce((n, p) => n + p.length, 0))
  })

  it('adds to its gradient sums, exactly', async () => {
    const { backward, gradientNorm, zeroGradients } = await body()
    await backward(activation('x'), activation('dy'))
    const once = await gradientNorm()
    expect(once).toBeGreaterThan(0)
    await backward(activation('x'), activation('dy'))
    expect([await gradientNorm()]).toBeAllclose([2 * once], { relative: 1e-6 })
    await zeroGradients()
    expect(await gradientNorm()).toBe(0)
    await backward(activation('x'), activation('dy'))
    expect(await gradientNorm()).toBe(once)
  })

  it('has the norm NaN if a gradient is NaN', async () => {
    const { backward, gradientNorm } = await body()
    await backward(activation('x'), activation('dy').fill(Number.NaN, 7, 8))
    expect(await gradientNorm()).toBeNaN()
  })

  it('changes its weights and sets its sums to zero in an update', async () => {
    const { backward, gradientNorm, weights, update: apply } = await body()
    const before = weights.slice()
    await backward(activation('x'), activation('dy'))
    await apply(update)
    expect(await gradientNorm()).toBe(0)
    const changed = weights.filter((weight, i) => weight !== before[i])
    expect(changed.length).toBeGreaterThan(0.9 * weights.length)
  })

  it('scales its sums before anything else', async () => {
    const one = await body()
    const start = one.weights.slice()
    const results: Float32Array[] = []
    for (const microbatches of [1, 4]) {
      await one.load(start)
      for (let i = 0; i < microbatches; i++) await one.backward(activation('x'), activation('dy'))
      await one.update({ gradientScale: 1 / microbatches, learningRate: 0.01 })
      const { firstMoment, secondMoment } = await one.optimizerState()
      results.push(one.weights.slice(), firstMoment, secondMoment)
    }
    for (const i of [0, 1, 2]) expect(results[i + 3]!).toBeAllclose(results[i]!, { relative: 1e-6 })
  })

  it('continues after a load like the saved stage', async () => {
    const one = await body()
    await one.backward(activation('x'), activation('dy'))
    await one.update(update)
    const saved = { weights: one.weights.slice(), optimizer: await one.optimizerState() }
    const train = async () => {
      await one.backward(activation('x2'), activation('dy2'))
      await one.update(update)
      return one.weights.slice()
    }
    const first = await train()
    await one.backward(activation('stray'), activation('dy'))
    await one.load(saved.weights, saved.optimizer)
    expect((await one.optimizerState()).updates).toBe(1)
    expect(await train()).toEqual(first)
    // Without the optimizer's state the moments start at zero, so the update differs.
    await one.load(saved.weights)
    expect((await one.optimizerState()).updates).toBe(0)
    expect(await train()).not.toEqual(first)
  })

  it('runs calls in order', async () => {
    const one = await body()
    const done: string[] = []
    const x = activation('x')
    const dy = activation('dy')
    const before = await one.forward(x)
    const calls = {
      backward: one.backward(x, dy),
      update: one.update(update),
      forward: one.forward(x),
      norm: one.gradientNorm(),
    }
    await Promise.all(Object.entries(calls).map(([name, call]) => call.then(() => done.push(name))))
    expect(done).toEqual(['backward', 'update', 'forward', 'norm'])
    expect(await calls.forward).not.toEqual(before)
    expect(await calls.norm).toBe(0)
  })

  it('finishes queued calls before it closes, and refuses later calls', async () => {
    const one = await body()
    const queued = [one.forward(activation('a')), one.forward(activation('b'))]
    const closed = one.close()
    const late = expect(one.forward(activation('c'))).rejects.toThrow(
      'forward: the stage is closed',
    )
    expect(await Promise.all(queued)).toHaveLength(2)
    await Promise.all([closed, late, one.close()])
  })

  it('refuses tensors of other lengths', async () => {
    const one = await body()
    await expect(one.forward(new Float32Array(5))).rejects.toThrow(
      'forward: activation of 5 elements, not 432',
    )
    await expect(one.load(new Float32Array(5))).rejects.toThrow(/load: weights of 5 elements/)
    const moments = { secondMoment: one.weights.slice(), updates: 1 }
    await expect(
      one.load(one.weights.slice(), { ...moments, firstMoment: new Float32Array(5) }),
    ).rejects.toThrow(/load: first moment of 5 elements/)
    expect(await one.gradientNorm()).toBe(0)
  })

  it('refuses tokens outside of the vocabulary, and leaves the sums unchanged', async () => {
    const one = await ends()
    const stray = tokens('t').fill(31, 4, 5)
    const expected = 'token 31 is not in 0..30'
    await expect(one.embed(stray)).rejects.toThrow(expected)
    await expect(one.embedBackward(stray, activation('dy'))).rejects.toThrow(expected)
    await expect(one.lossAndGradient(activation('x'), stray)).rejects.toThrow(expected)
    expect(await one.gradientNorm()).toBe(0)
  })

  it('reads views of larger buffers, shared or not, and keeps no reference', async () => {
    const one = await body()
    const x = activation('x')
    const expected = await one.forward(x)
    for (const Buffer of [ArrayBuffer, SharedArrayBuffer]) {
      const view = new Float32Array(new Buffer(2 * x.byteLength), x.byteLength / 2, x.length)
      view.set(x)
      expect(await one.forward(view)).toEqual(expected)
      expect(view).toEqual(x)
    }
  })

  it('returns buffers that later calls do not change', async () => {
    const one = await body()
    const first = await one.forward(activation('x'))
    const copy = first.slice()
    await one.forward(activation('y'))
    expect(first).toEqual(copy)
  })
})

it('leaves no session after stages are closed or could not be created', async () => {
  const before = openSessions()
  const stages = [0, 1, 2].map((stage) => createLocalStage(config, stage, options))
  const made = await Promise.all(stages)
  expect(openSessions()).toBeGreaterThan(before)
  // The second stage closes during a run.
  const running = made[1]!.kind === 'body' ? made[1]!.forward(activation('x')) : undefined
  await Promise.all(made.map((stage) => stage.close()))
  await running
  await expect(createLocalStage({ ...config, bodyStages: 4 }, 1, options)).rejects.toThrow()
  expect(openSessions()).toBe(before)
})
