/** tokenizer.json for bytes, read by the library of the format: any text becomes its bytes, and decodes to the same text. */
import { Tokenizer } from '@huggingface/tokenizers'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  BYTE_CHARACTERS,
  byteTokenizer,
  tokenizerConfig,
} from '../../../stages/formats/byte-tokenizer.ts'

interface Library {
  encode(text: string): { ids: number[] }
  decode(ids: number[]): string
}

const library = new Tokenizer(
  byteTokenizer(),
  tokenizerConfig({ model_max_length: 128 }),
) as Library

test('each byte has the character of GPT-2', () => {
  expect(new Set(BYTE_CHARACTERS).size).toBe(256)
  // From GPT-2's vocabulary: space, new line, and the first byte of two.
  expect([32, 10, 65, 195].map((byte) => BYTE_CHARACTERS[byte])).toEqual(['Ġ', 'Ċ', 'A', 'Ã'])
})

test('any text becomes its bytes, and decodes to the same text', () => {
  const texts = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 60 })
  fc.assert(
    fc.property(texts, (text) => {
      const bytes = [...Buffer.from(text)]
      expect(library.encode(text).ids).toEqual(bytes)
      expect(library.decode(bytes)).toBe(Buffer.from(bytes).toString())
    }),
    { numRuns: 300, seed: 1, examples: [["  don't \r\n\t 12345 Zürich ❄ 漢字 \u0000 <|end|>"]] },
  )
})
