/** The whole model through its stages against PyTorch in float64. */
import { afterEach, describe, expect, it } from 'vitest'
import { LIMITS, type Limits } from '../../stages/chunks.ts'
import {
  closeLlama,
  createLlama,
  type Llama,
  readGolden,
  runMicrobatch,
  updateForGradients,
  weightsOf,
} from './golden.ts'

const STEPS = 3
const RELATIVE = { relative: 1e-4 }

let llama: Llama
afterEach(() => closeLlama(llama))

const NAMES = ['llama-mha', 'llama-gqa-tied', 'llama-swapped']
/** Limits that divide head and attention into pieces of several lengths. */
const PIECES: Limits = { logits: 1000, scores: 1, leastQueries: 3, keyPieces: 2 }

describe.each([
  ...NAMES.map((name) => ({ name, how: 'whole', limits: LIMITS })),
  ...NAMES.map((name) => ({ name, how: 'in pieces', limits: PIECES })),
])('$name, $how', ({ name, limits }) => {
  const golden = readGolden(name)

  it('has the loss, hidden states and gradients', async () => {
    llama = await createLlama(golden, limits)
    const { loss, lossWithoutGradient, hidden } = await runMicrobatch(llama, golden)
    expect([loss, lossWithoutGradient]).toBeAllclose([golden.tensor('loss')[0]!, loss], RELATIVE)
    for (const [i, state] of hidden.entries()) {
      expect(state).toBeAllclose(golden.tensor(`hidden/${i}`), RELATIVE)
    }
    const gradients = await updateForGradients(llama, golden)
    for (const [parameter, gradient] of gradients) {
      expect(gradient).toBeAllclose(golden.tensor(`grad/${parameter}`), RELATIVE)
    }
  })

  it('has the gradient norm', async () => {
    llama = await createLlama(golden, limits)
    await runMicrobatch(llama, golden)
    const norms: number[] = []
    const expected: number[] = []
    for (const stage of llama.body) {
      norms.push(await stage.gradientNorm())
      const gradients = stage.parameters.flatMap((parameter) =>
        Array.from(golden.tensor(`grad/${parameter.name}`)),
      )
      expected.push(Math.hypot(...gradients))
    }
    expect(norms).toBeAllclose(expected, RELATIVE)
  })

  it(`has the losses of PyTorch for ${STEPS} steps`, async () => {
    llama = await createLlama(golden, limits)
    const { learningRate } = golden
    const losses: number[] = []
    for (let step = 0; step < STEPS; step++) {
      losses.push((await runMicrobatch(llama, golden)).loss)
      for (const stage of llama.all) await stage.update({ gradientScale: 1, learningRate })
    }
    expect(losses).toBeAllclose(golden.tensor('adamw_losses'), RELATIVE)
    for (const [parameter, weights] of weightsOf(llama)) {
      expect(weights).toBeAllclose(golden.tensor(`adamw/${parameter}`), RELATIVE)
    }
  })
})
