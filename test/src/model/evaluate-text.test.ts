/** The loss of a text in windows, compared with a reference in float64. */
import { expect, onTestFinished, test } from 'vitest'
import { evaluateText } from '../../../src/model/evaluate-text.ts'
import { bytesAsTokens } from '../../../src/model/tokenizer-files.ts'
import { Decoder } from '../../../stages/decoder.ts'
import { GROUPED, smallModel, someTokens } from '../../fixtures/small-model.ts'
import { referenceLoss } from '../../stages/reference-llama.ts'

const small = smallModel({ ...GROUPED, layers: 1 })
const TEXT = Uint8Array.from(someTokens(75))

async function* chunks(sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  let at = 0
  for (const size of [...sizes, TEXT.length]) {
    yield TEXT.subarray(at, at + size)
    at += size
  }
}

function evaluate(context: number, stride: number, sizes: readonly number[] = []) {
  const decoder = new Decoder(small.model, small.weight, { provider: 'cpu', threads: 1 })
  onTestFinished(() => decoder.close())
  return evaluateText(decoder, bytesAsTokens(context), chunks(sizes), {
    name: 'the text',
    context,
    stride,
  })
}

/** The expected loss: each token but the first is predicted once, from the tokens before it in its window. */
function expected(context: number, stride: number): number {
  let total = 0
  let done = 1
  for (let begin = 0; done < TEXT.length; begin += stride) {
    const window = TEXT.subarray(begin, begin + context + 1)
    const logits = small.logits(window.subarray(0, -1))
    const skip = done - begin - 1
    const targets = window.subarray(1 + skip)
    total += referenceLoss(logits.slice(skip), targets) * targets.length
    done += targets.length
  }
  return total / (TEXT.length - 1)
}

test.each([
  [16, 16],
  [16, 5],
  [16, 1],
  [37, 37],
  [200, 200],
])('the loss with context %i and stride %i equals the reference', async (context, stride) => {
  const { tokens, bytes, nats, perplexity, bitsPerByte } = await evaluate(context, stride)
  expect({ tokens, bytes }).toEqual({ tokens: 74, bytes: 74 })
  expect([nats]).toBeAllclose([expected(context, stride)], { relative: 1e-5 })
  expect(perplexity).toBeCloseTo(Math.exp(nats), 8)
  expect(bitsPerByte).toBeCloseTo(nats / Math.log(2), 10)
})

test('the loss does not depend on the chunks in which the text is read', async () => {
  const whole = await evaluate(16, 8)
  expect(await evaluate(16, 8, [1, 1, 0, 30, 7])).toEqual(whole)
})
