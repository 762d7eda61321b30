/** Comparison with Hugging Face's Rust library, whose tokens test/golden/tokenizers/make.py wrote. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Tokenizer as Library } from '@huggingface/tokenizers'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { InputError } from '../../../src/base/errors.ts'
import { partsOf } from '../../../src/data/cut.ts'
import { loadTokenizer } from '../../../src/data/tokenizer.ts'
import { openTokenizerJson } from '../../../src/data/tokenizer-json.ts'
import { GOLDEN, sentences, write } from '../../fixtures/dataset.ts'
import { temporaryFolder } from '../../fixtures/folder.ts'

const FOLDER = join(GOLDEN, 'tokenizers')
const KINDS = ['gpt2', 'prefix', 'llama3', 'digits', 'unigram', 'first', 'llama2']
const torture = readFileSync(join(FOLDER, 'torture.txt'), 'utf8')

function open(kind: string) {
  return openTokenizerJson(readFileSync(join(FOLDER, `${kind}.json`)), kind)
}

function libraryOf(kind: string): { encode(text: string, options: object): { ids: number[] } } {
  return new Library(JSON.parse(readFileSync(join(FOLDER, `${kind}.json`), 'utf8')), {})
}

describe.each(KINDS)('%s', (kind) => {
  test('gives the tokens of the reference for a difficult multilingual text, as a whole and by line', () => {
    const golden = JSON.parse(readFileSync(join(FOLDER, `${kind}.ids.json`), 'utf8'))
    const tokenizer = open(kind)
    expect(tokenizer.encode(torture)).toEqual(golden.whole)
    // The second time the tokens come from the cache.
    expect(tokenizer.encode(torture)).toEqual(golden.whole)
    const lines = torture.split('\n')
    expect(lines.map((line) => tokenizer.encode(line))).toEqual(golden.lines)
  })

  test('gives a text in parts the tokens of the whole text', () => {
    const text = `${torture} ${sentences(kind, 8000)} ${torture}`
    const parts = [...partsOf(text)]
    expect(parts.length).toBeGreaterThan(5)
    const tokenizer = open(kind)
    const joined = parts.flatMap(({ data, continues }) => tokenizer.encode(data, continues))
    expect(joined).toEqual(tokenizer.encode(text))
  })
})

test.each(['gpt2', 'llama3', 'digits'])('%s gives any text the tokens of the library', (kind) => {
  const tokenizer = open(kind)
  const library = libraryOf(kind)
  const word = fc.oneof(
    fc.string({ unit: 'grapheme', maxLength: 6 }),
    fc.constantFrom(' ', '  ', '\n', '\r\n', "'s", '12345', '<|endoftext|>', 'the', 'é'),
  )
  fc.assert(
    fc.property(fc.array(word, { maxLength: 30 }), (words) => {
      const text = words.join('')
      if (text === '') return
      expect(tokenizer.encode(text)).toEqual(
        library.encode(text, { add_special_tokens: false }).ids,
      )
    }),
  )
})

describe('loadTokenizer', () => {
  /** A changed copy of gpt2.json. */
  function changed(change: (json: Record<string, unknown>) => void): string {
    const json = JSON.parse(readFileSync(join(FOLDER, 'gpt2.json'), 'utf8'))
    change(json)
    return write(temporaryFolder(), 'tokenizer.json', JSON.stringify(json))
  }

  test('finds the end-of-text token by its common name, by the configuration, or by the option', () => {
    const path = changed(() => {})
    expect(loadTokenizer(path)).toMatchObject({ endOfText: 0, vocabSize: 702 })
    expect(loadTokenizer(path, '<|sep|>').endOfText).toBe(700)
    write(join(path, '..'), 'tokenizer_config.json', '{"eos_token": {"content": "<|sep|>"}}')
    expect(loadTokenizer(path).endOfText).toBe(700)
    expect(() => loadTokenizer(path, '<end>')).toThrow(/has no token <end>/)
    const nameless = changed((json) => {
      json.added_tokens = []
      delete (json.model as { vocab: Record<string, number> }).vocab['<|endoftext|>']
    })
    expect(() => loadTokenizer(nameless)).toThrow(/name it by --end-of-text/)
  })

  const oddSplit = { type: 'Split', pattern: { String: ' ' }, behavior: 'MergedWithNext' }

  test.each<[string, Record<string, unknown>, RegExp]>([
    ['WordPiece', { model: { type: 'WordPiece', vocab: {} } }, /a model of type WordPiece/],
    ['WordLevel', { model: { type: 'WordLevel', vocab: {} } }, /a model of type WordLevel/],
    ['a normalizer', { normalizer: { type: 'Precompiled' } }, /a normalizer of type Precompiled/],
    [
      'a pre-tokenizer',
      { pre_tokenizer: { type: 'BertPreTokenizer' } },
      /of type BertPreTokenizer/,
    ],
    [
      'a Split that differs from the reference',
      { pre_tokenizer: oddSplit },
      /a Split MergedWithNext/,
    ],
    ['no model', { model: undefined }, /not a tokenizer.json of Hugging Face: model/],
  ])('refuses %s by name', (_, change, message) => {
    const path = changed((json) => Object.assign(json, change))
    expect(() => loadTokenizer(path)).toThrow(InputError)
    expect(() => loadTokenizer(path)).toThrow(message)
  })

  test('refuses a missing file and a truncated file', () => {
    const folder = temporaryFolder()
    const half = readFileSync(join(FOLDER, 'gpt2.json')).subarray(0, 5000)
    expect(() => loadTokenizer(write(folder, 'half.json', half))).toThrow(/half.json is not JSON/)
    expect(() => loadTokenizer(join(folder, 'none.json'))).toThrow(
      /none.json does not exist.*--tokenizer/,
    )
  })
})

test('the byte tokenizer gives the bytes of UTF-8, and its end-of-text token is 0', () => {
  const { encode, endOfText, vocabSize } = loadTokenizer('bytes')
  expect([...(encode('é') as Uint8Array)]).toEqual([0xc3, 0xa9])
  expect({ endOfText, vocabSize }).toEqual({ endOfText: 0, vocabSize: 256 })
})
