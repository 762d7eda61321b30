/** Training gives the same results under every policy for kept values. */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { LIMITS, type Limits } from '../../stages/chunks.ts'
import { KEEP_DTYPES, KEEPS, type KeepDtype } from '../../stages/keep.ts'
import { createLocalStage } from '../../stages/onnx-stage.ts'
import { bodyPrograms } from '../../stages/programs.ts'
import { Random } from '../../stages/random.ts'
import { sizeOf } from '../../stages/shape.ts'
import type { BodyStage } from '../../stages/stage.ts'
import { activation, config, options } from './fixtures.ts'
import { interpret } from './interpreter.ts'
import { lossCurve, STEPS } from './loss-curve.ts'
import { runGraph } from './run-graph.ts'

/** Losses of the policy 'none' on one thread. A change of this file needs a reason in the changelog. */
const GOLDEN = new URL('../golden/losses-50.json', import.meta.url)
const PIECES: Limits = { logits: 1000, scores: 1, leastQueries: 4, keyPieces: 2 }

const golden: number[] = JSON.parse(readFileSync(GOLDEN, 'utf8'))

/** Largest relative difference of a loss within the fifty steps, and of an element of a gradient. */
const BOUNDS: Readonly<Record<KeepDtype, { loss: number; gradient: number }>> = {
  // Another processor rounds differently: numbers moved by one unit in the last place change these losses by 6e-7.
  float32: { loss: 1e-5, gradient: 1e-5 },
  // A little over 2^-11, the rounding of one kept value.
  float16: { loss: 1e-3, gradient: 1e-3 },
}

const cases = KEEPS.flatMap((keep) =>
  // The policy none stores nothing.
  (keep === 'none' ? (['float32'] as const) : KEEP_DTYPES).flatMap((keepDtype) => [
    { keep, keepDtype, how: 'whole', limits: LIMITS },
    { keep, keepDtype, how: 'in pieces', limits: PIECES },
  ]),
)

describe.each(cases)('keeping $keep as $keepDtype, $how', ({ keep, keepDtype, limits }) => {
  const bounds = BOUNDS[keepDtype]

  it(`has the golden losses of ${STEPS} steps`, async () => {
    const losses = await lossCurve({ keep, keepDtype, limits })
    for (const [step, loss] of losses.entries()) {
      expect([loss], `step ${step}`).toBeAllclose([golden[step]!], { relative: bounds.loss })
    }
  })

  it('has the gradients of float64 without kept values', async () => {
    const plain = bodyPrograms(config, 2, LIMITS).backward
    const { forwardKeeping, backward } = bodyPrograms({ ...config, keep, keepDtype }, 2, limits)
    const random = new Random('keep')
    const feeds: Record<string, Float32Array> = Object.fromEntries(
      plain.inputs.map(({ name, shape }) => [
        name,
        Float32Array.from({ length: sizeOf(shape) }, () => 0.3 * random.gaussian()),
      ]),
    )
    const values = interpret(plain, feeds)
    const { output, ...kept } = await runGraph(forwardKeeping, feeds)
    const results = await runGraph(backward, { ...feeds, ...kept })
    expect(output).toBeDefined()
    for (const { name, value } of plain.outputs) {
      expect(results[name]!).toBeAllclose(values.get(value)!.data, { relative: bounds.gradient })
    }
  })

  it('computes kept values again if backward gets none', async () => {
    const stage = (await createLocalStage({ ...config, keep, keepDtype }, 1, {
      ...options,
      limits,
    })) as BodyStage
    const { kept, output } = await stage.forwardKeeping(activation('x'))
    expect(output).toEqual(await stage.forward(activation('x')))
    const given = await stage.backward(activation('x'), activation('dy'), kept)
    // Overwrites the reused memory, so that it holds nothing of x.
    const other = await stage.forwardKeeping(activation('other'))
    await stage.backward(activation('other'), activation('dy'), other.kept)
    expect(await stage.backward(activation('x'), activation('dy'))).toEqual(given)
    await stage.close()
  })
})

describe('backward consumes the kept values', () => {
  const own = { ...config, keep: 'all' } as const
  const created = async () => (await createLocalStage(own, 1, options)) as BodyStage

  it('and a later forward reuses their memory, while other microbatches wait', async () => {
    const stage = await created()
    const one = await stage.forwardKeeping(activation('1'))
    const two = await stage.forwardKeeping(activation('2'))
    const gradients = [await stage.backward(activation('1'), activation('dy'), one.kept)]
    const three = await stage.forwardKeeping(activation('3'))
    const isIn = (kept: typeof one.kept) => (name: string) =>
      three.kept[name]!.buffer === kept[name]!.buffer
    expect(Object.keys(three.kept).map(isIn(one.kept))).not.toContain(false)
    expect(Object.keys(three.kept).map(isIn(two.kept))).not.toContain(true)
    gradients.push(await stage.backward(activation('2'), activation('dy'), two.kept))
    gradients.push(await stage.backward(activation('3'), activation('dy'), three.kept))
    const alone = await created()
    for (const [i, gradient] of gradients.entries()) {
      // Without kept values.
      expect(await alone.backward(activation(`${i + 1}`), activation('dy'))).toEqual(gradient)
    }
    expect(alone.sums).toEqual(stage.sums)
    await stage.close()
    await alone.close()
  })

  it('and a second backward is refused', async () => {
    const stage = await created()
    const { kept } = await stage.forwardKeeping(activation('x'))
    await stage.backward(activation('x'), activation('dy'), kept)
    await stage.forwardKeeping(activation('y'))
    await expect(stage.backward(activation('x'), activation('dy'), kept)).rejects.toThrow(/spent/)
    await stage.close()
  })
})

it('builds the graphs of equal stages once', () => {
  expect(bodyPrograms({ ...config }, 2, LIMITS)).toBe(bodyPrograms(config, 2, LIMITS))
  expect(bodyPrograms(config, 1, LIMITS)).not.toBe(bodyPrograms(config, 2, LIMITS))
})

it('makes fewer products the more it keeps', () => {
  const products = KEEPS.map((keep) => {
    const { backward } = bodyPrograms({ ...config, keep }, 2, LIMITS)
    return backward.nodes.filter(({ op }) => op === 'Gemm' || op === 'FusedMatMul').length
  })
  const [none, attention, all] = products as [number, number, number]
  const layers = config.model.layers / config.bodyStages
  expect(attention).toBe(none - layers)
  expect(all).toBeLessThan(attention - 6 * layers)
})

it('halves the memory of kept values with float16', async () => {
  const bytes = async (keepDtype: KeepDtype) => {
    const own = { ...config, keep: 'all', keepDtype } as const
    const stage = (await createLocalStage(own, 1, options)) as BodyStage
    const { kept } = await stage.forwardKeeping(activation('x'))
    await stage.close()
    return Object.values(kept).reduce((sum, { byteLength }) => sum + byteLength, 0)
  }
  expect(await bytes('float16')).toBe((await bytes('float32')) / 2)
})

it('gives a gradient that is not finite for a value that float16 cannot hold', async () => {
  const norms = []
  for (const keepDtype of KEEP_DTYPES) {
    const own = { ...config, keep: 'all', keepDtype } as const
    const stage = (await createLocalStage(own, 1, options)) as BodyStage
    // The output of SwiGLU exceeds 65,504.
    await stage.load(stage.weights.map((weight) => 3e3 * weight))
    await stage.backward(activation('x'), activation('dy'))
    norms.push(await stage.gradientNorm())
    await stage.close()
  }
  expect(norms.map(Number.isFinite)).toEqual([true, false])
})
