/** The frequencies of drawn tokens, and the text that is shown. */
import { expect, test } from 'vitest'
import { GeneratedText } from '../../../src/model/generated-text.ts'
import { type Sampling, sample } from '../../../src/model/token-sampling.ts'
import { bytesAsTokens } from '../../../src/model/tokenizer-files.ts'
import { Random } from '../../../stages/random.ts'

const LOGITS = Float32Array.of(1, 3, 2, -1, 3)
const ALL: Sampling = { temperature: 1, topK: 0, topP: 1 }
const DRAWS = 20_000

/** Number of draws of each token. */
function shares(sampling: Sampling): number[] {
  const random = new Random('draws')
  const counts = Array.from(LOGITS, () => 0)
  for (let i = 0; i < DRAWS; i++) counts[sample(LOGITS, sampling, random)]!++
  return counts.map((count) => count / DRAWS)
}

/** Probabilities of the kept tokens, by the definition of softmax. */
function softmax(kept: readonly number[], temperature: number): number[] {
  const weights = [...LOGITS].map((logit, i) =>
    kept.includes(i) ? Math.exp(logit / temperature) : 0,
  )
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  return weights.map((weight) => weight / total)
}

test.each([
  ['all of them without a restriction', ALL, [0, 1, 2, 3, 4], 1],
  ['all of them at a higher temperature', { ...ALL, temperature: 3 }, [0, 1, 2, 3, 4], 3],
  ['the three most likely with top-k 3', { ...ALL, topK: 3 }, [1, 2, 4], 1],
  ['the two that reach 0.7 with top-p', { ...ALL, topP: 0.7 }, [1, 4], 1],
  ['those of top-p within those of top-k', { temperature: 2, topK: 3, topP: 0.5 }, [1, 4], 2],
  ['one with a top-p of 0', { ...ALL, topP: 0 }, [1], 1],
])('tokens are drawn with their probability from %s', (_, sampling, kept, temperature) => {
  const expected = softmax(kept, temperature)
  for (const [token, share] of shares(sampling).entries()) {
    // The bound is four standard deviations of a share.
    const deviation = Math.sqrt((expected[token]! * (1 - expected[token]!)) / DRAWS)
    expect(Math.abs(share - expected[token]!)).toBeLessThanOrEqual(4 * deviation + 1e-9)
  }
})

test('a temperature of 0 takes the most likely token, the first of equal ones', () => {
  expect(sample(LOGITS, { ...ALL, temperature: 0 }, new Random(1))).toBe(1)
})

function shown(text: string, stops: readonly string[]): { parts: string[]; stopped: boolean } {
  const generated = new GeneratedText(bytesAsTokens(8), stops)
  const parts: string[] = []
  for (const byte of Buffer.from(text)) {
    parts.push(generated.add(byte))
    if (generated.stopped) break
  }
  parts.push(generated.finish())
  expect(parts.join('')).toBe(generated.text)
  return { parts: parts.filter((part) => part !== ''), stopped: generated.stopped }
}

test('characters are shown only when they are complete', () => {
  expect(shown('aü❄', []).parts).toEqual(['a', 'ü', '❄'])
})

test('no part of a stop text is shown, and text that only begins like one is shown', () => {
  expect(shown('one. two', ['. t']).parts.join('')).toBe('one')
  expect(shown('one. two', ['. t']).stopped).toBe(true)
  const almost = shown('a..b', ['..c', 'x'])
  expect(almost).toEqual({ parts: ['a', '..b'], stopped: false })
  expect(shown('abc', ['c', 'bc']).parts.join('')).toBe('a')
})
