/** Effect of rounding between stages: losses of fifty steps against unrounded ones, and gradients against float64. */
import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { decodeTensor, encodeTensor, WIRE_DTYPES, type WireDtype } from '../../protocols/codec.ts'
import {
  closeLlama,
  createLlama,
  readGolden,
  runMicrobatch,
  updateForGradients,
} from '../stages/golden.ts'
import { lossCurve } from '../stages/loss-curve.ts'

const GOLDEN = new URL('../golden/losses-50.json', import.meta.url)
const golden: number[] = JSON.parse(readFileSync(GOLDEN, 'utf8'))

/** Largest relative difference of a loss within the fifty steps, and of an element of a gradient. */
const BOUNDS: Readonly<Record<WireDtype, { loss: number; gradient: number }>> = {
  // Another processor rounds differently: numbers moved by one unit in the last place change these losses by 6e-7.
  float32: { loss: 1e-5, gradient: 1e-5 },
  // Six tensors are rounded in each direction, by up to 2^-11, or 1/254 of the block's largest. Layers increase the error.
  float16: { loss: 1e-3, gradient: 4e-3 },
  int8: { loss: 2e-2, gradient: 1e-1 },
}

function travelAs(dtype: WireDtype) {
  // A copy, since an encoding may share memory with the tensor.
  return (tensor: Float32Array) =>
    decodeTensor(dtype, encodeTensor(dtype, tensor).slice(), tensor.length)
}

it.each(WIRE_DTYPES)('%s learns as the plain one does, within its bound', async (dtype) => {
  const losses = await lossCurve({ travel: travelAs(dtype) })
  for (const [step, loss] of losses.entries()) {
    const bound = { relative: BOUNDS[dtype].loss }
    expect([loss], `step ${step}`).toBeAllclose([golden[step]!], bound)
  }
})

it.each(WIRE_DTYPES)(
  '%s has the gradients of PyTorch in float64, within its bound',
  async (dtype) => {
    const pytorch = readGolden('llama-mha')
    const llama = await createLlama(pytorch)
    try {
      await runMicrobatch(llama, pytorch, travelAs(dtype))
      for (const [parameter, gradient] of await updateForGradients(llama, pytorch)) {
        const expected = pytorch.tensor(`grad/${parameter}`)
        expect(gradient, parameter).toBeAllclose(expected, { relative: BOUNDS[dtype].gradient })
      }
    } finally {
      await closeLlama(llama)
    }
  },
)
