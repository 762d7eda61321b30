/** What rounding on the way between stages does to learning: fifty steps in each form against the plain ones. */
import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { decodeTensor, encodeTensor, WIRE_DTYPES, type WireDtype } from '../../protocols/codec.ts'
import { lossCurve } from '../stages/loss-curve.ts'

const GOLDEN = new URL('../golden/losses-50.json', import.meta.url)
const golden: number[] = JSON.parse(readFileSync(GOLDEN, 'utf8'))

/** Largest relative difference of a loss that is allowed. */
const BOUNDS: Readonly<Record<WireDtype, number>> = { float32: 1e-5, float16: 1e-3, int8: 2e-2 }

it.each(WIRE_DTYPES)('%s learns as the plain one does, within its bound', async (dtype) => {
  const travel = (tensor: Float32Array) => {
    // A copy: a form may share memory with what it was made from.
    const body = encodeTensor(dtype, tensor).slice()
    return decodeTensor(dtype, body, tensor.length)
  }
  const losses = await lossCurve({ travel })
  for (const [step, loss] of losses.entries()) {
    const bound = { relative: BOUNDS[dtype] }
    expect([loss], `step ${step}`).toBeAllclose([golden[step]!], bound)
  }
})
