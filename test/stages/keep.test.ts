/** Whatever is kept between forward and backward, the same is learnt. */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { LIMITS, type Limits } from '../../stages/chunks.ts'
import { KEEPS } from '../../stages/keep.ts'
import { createLocalStage } from '../../stages/onnx-stage.ts'
import { bodyPrograms } from '../../stages/programs.ts'
import { Random } from '../../stages/random.ts'
import { sizeOf } from '../../stages/shape.ts'
import type { BodyStage } from '../../stages/stage.ts'
import { activation, config, options } from './fixtures.ts'
import { interpret } from './interpreter.ts'
import { lossCurve, STEPS } from './loss-curve.ts'
import { runGraph } from './run-graph.ts'

/** Made by the policy 'none' on one thread; changes with a reason in the changelog only. */
const GOLDEN = new URL('../golden/losses-50.json', import.meta.url)
const PIECES: Limits = { logits: 1000, scores: 1, leastQueries: 4, keyPieces: 2 }

const golden: number[] = JSON.parse(readFileSync(GOLDEN, 'utf8'))

const cases = KEEPS.flatMap((keep) => [
  { keep, how: 'whole', limits: LIMITS },
  { keep, how: 'in pieces', limits: PIECES },
])

describe.each(cases)('keeping $keep, $how', ({ keep, limits }) => {
  it(`has the golden losses of ${STEPS} steps`, async () => {
    const losses = await lossCurve({ keep, limits })
    for (const [step, loss] of losses.entries()) {
      expect([loss], `step ${step}`).toBeAllclose([golden[step]!], { relative: 1e-5 })
    }
  })

  it('gives what float64 gives that keeps nothing', async () => {
    const plain = bodyPrograms(config, 2, LIMITS).backward
    const { forwardKeeping, backward } = bodyPrograms({ ...config, keep }, 2, limits)
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
      expect(results[name]!).toBeAllclose(values.get(value)!.data, { relative: 1e-5 })
    }
  })

  it('computes again what it is not given', async () => {
    const stage = (await createLocalStage({ ...config, keep }, 1, {
      ...options,
      limits,
    })) as BodyStage
    const { kept, output } = await stage.forwardKeeping(activation('x'))
    expect(output).toEqual(await stage.forward(activation('x')))
    const given = await stage.backward(activation('x'), activation('dy'), kept)
    expect(await stage.backward(activation('x'), activation('dy'))).toEqual(given)
    await stage.close()
  })
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
