/** Frequencies of rotary embedding against other forms of the formulas of the papers and of transformers. */
import { expect, it } from 'vitest'
import { frequencies, NO_SCALING, type RopeScaling } from '../../stages/rope.ts'
import { config } from './fixtures.ts'

const model = { ...config.model, heads: 32, hiddenSize: 2048, ropeTheta: 500_000 }
const llama3: RopeScaling = { ...NO_SCALING, type: 'llama3', factor: 32 }

it('are those of the paper without scaling, for the given head size', () => {
  const plain = frequencies(model)
  expect(plain).toHaveLength(32)
  expect(plain).toBeAllclose(
    Array.from({ length: 32 }, (_, i) => Math.exp(-Math.log(500_000) * ((2 * i) / 64))),
    { relative: 1e-12 },
  )
  expect(frequencies({ ...model, headSize: 128 })).toHaveLength(64)
  expect(frequencies({ ...model, headSize: 0, ropeScaling: NO_SCALING })).toEqual(plain)
})

it('rotate a token with linear scaling like a token at a fraction of its position', () => {
  const scaled = frequencies({
    ...model,
    ropeScaling: { ...NO_SCALING, type: 'linear', factor: 4 },
  })
  const place = 100
  expect(scaled.map((each) => each * place)).toBeAllclose(
    frequencies(model).map((each) => (each * place) / 4),
    { relative: 1e-12 },
  )
})

it('are scaled by wavelength in Llama 3', () => {
  const scaled = frequencies({ ...model, ropeScaling: llama3 })
  for (const [i, frequency] of frequencies(model).entries()) {
    const wavelength = (2 * Math.PI) / frequency
    const smooth = (8192 / wavelength - 1) / (4 - 1)
    const expected =
      wavelength < 8192 / 4
        ? frequency
        : wavelength > 8192
          ? frequency / 32
          : (1 - smooth) * (frequency / 32) + smooth * frequency
    expect([scaled[i]!], `pair ${i}`).toBeAllclose([expected], { relative: 1e-12 })
  }
})
