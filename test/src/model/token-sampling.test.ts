/** What is drawn, how often, and what never is. */
import { expect, test } from 'vitest'
import { GeneratedText } from '../../../src/model/generated-text.ts'
import { type Sampling, sample } from '../../../src/model/token-sampling.ts'
import { bytesAsTokens } from '../../../src/model/tokenizer-files.ts'
import { Random } from '../../../stages/random.ts'

const LOGITS = Float32Array.of(1, 3, 2, -1, 3)
const ALL: Sampling = { temperature: 1, topK: 0, topP: 1 }
const DRAWS = 20_000

/** How often each token is drawn. */
function shares(sampling: Sampling): number[] {
  const random = new Random('draws')
  const counts = Array.from(LOGITS, () => 0)
  for (let i = 0; i < DRAWS; i++) counts[sample(LOGITS, sampling, random)]!++
  return counts.map((count) => count / DRAWS)
}

/** Of the kept tokens, by the definition of softmax. */
function softmax(kept: readonly number[], temperature: number): number[] {
  const weights = [...LOGITS].map((logit, i) =>
    kept.includes(i) ? Math.exp(logit / temperature) : 0,
  )
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  return weights.map((weight) => weight / total)
}

test.each([
  ['all', ALL, [0, 1, 2, 3, 4], 1],
  ['a higher temperature', { ...ALL, temperature: 3 }, [0, 1, 2, 3, 4], 3],
  ['top-k', { ...ALL, topK: 3 }, [1, 2, 4], 1],
  ['top-p: the two that reach 0.7', { ...ALL, topP: 0.7 }, [1, 4], 1],
  ['top-p within top-k', { temperature: 2, topK: 3, topP: 0.5 }, [1, 4], 2],
  ['top-p: always one', { ...ALL, topP: 0 }, [1], 1],
])('%s', (_, sampling, kept, temperature) => {
  const expected = softmax(kept, temperature)
  for (const [token, share] of shares(sampling).entries()) {
    // Four standard deviations of a share counted so many times.
    const deviation = Math.sqrt((expected[token]! * (1 - expected[token]!)) / DRAWS)
    expect(Math.abs(share - expected[token]!)).toBeLessThanOrEqual(4 * deviation + 1e-9)
  }
})

test('no temperature takes the most likely, the first of equals', () => {
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

test('characters are shown whole', () => {
  expect(shown('aü❄', []).parts).toEqual(['a', 'ü', '❄'])
})

test('nothing of a stop text is shown, and what only began like one is', () => {
  expect(shown('one. two', ['. t']).parts.join('')).toBe('one')
  expect(shown('one. two', ['. t']).stopped).toBe(true)
  const almost = shown('a..b', ['..c', 'x'])
  expect(almost).toEqual({ parts: ['a', '..b'], stopped: false })
  expect(shown('abc', ['c', 'bc']).parts.join('')).toBe('a')
})
