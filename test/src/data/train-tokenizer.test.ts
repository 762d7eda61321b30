import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Tokenizer as Library } from '@huggingface/tokenizers'
import { expect, test } from 'vitest'
import { InputError } from '../../../src/base/errors.ts'
import { openTokenizerJson } from '../../../src/data/tokenizer-json.ts'
import { trainTokenizer } from '../../../src/data/train-tokenizer.ts'
import { GOLDEN, jsonLines, write } from '../../fixtures/dataset.ts'
import { temporaryFolder } from '../../fixtures/folder.ts'

const TRAINING = join(GOLDEN, 'tokenizers', 'training.txt')
const defaults = { vocabSize: 1000, field: 'text', force: false }

test('a text gives the vocabulary and the merges of the reference, in the same order', async () => {
  const out = join(temporaryFolder(), 'tokenizer.json')
  expect(await trainTokenizer({ ...defaults, sources: [TRAINING], out })).toBe(1000)
  const learnt = JSON.parse(readFileSync(out, 'utf8'))
  const { model } = JSON.parse(readFileSync(join(GOLDEN, 'tokenizers', 'trained.json'), 'utf8'))
  expect(learnt.model.vocab).toEqual(model.vocab)
  expect(learnt.model.merges).toEqual(model.merges)
})

test('training is repeatable, the library loads the file, and any text can be decoded from its tokens', async () => {
  const folder = temporaryFolder()
  const [first, second] = [join(folder, 'a.json'), join(folder, 'b.json')]
  for (const out of [first, second]) await trainTokenizer({ ...defaults, sources: [TRAINING], out })
  expect(readFileSync(second).equals(readFileSync(first))).toBe(true)
  const library = new Library(JSON.parse(readFileSync(first, 'utf8')), {})
  const torture = readFileSync(join(GOLDEN, 'tokenizers', 'torture.txt'), 'utf8')
  const { encode } = openTokenizerJson(readFileSync(first), 'tokenizer.json')
  const options = { clean_up_tokenization_spaces: false }
  expect(library.decode(encode(torture), options)).toBe(torture)
})

test('a text with few pairs gives a small vocabulary, and only the texts of JSON Lines count', async () => {
  const folder = temporaryFolder()
  const texts = ['abab', 'abab cd']
  const lines = write(folder, 'a.jsonl', jsonLines(texts))
  const out = join(folder, 'tokenizer.json')
  // The merges are ab, abab, cd, and the space before cd.
  expect(await trainTokenizer({ ...defaults, sources: [lines], out })).toBe(257 + 4)
  const { encode } = openTokenizerJson(readFileSync(out), 'tokenizer.json')
  expect(encode('abab cd')).toHaveLength(2)
})

test('unusable input is refused, and no file is written', async () => {
  const folder = temporaryFolder()
  const out = join(folder, 'tokenizer.json')
  const train = (options: object) =>
    trainTokenizer({ ...defaults, sources: [TRAINING], out, ...options })
  await expect(train({ vocabSize: 100 })).rejects.toThrow(
    /--vocab-size is 100: it must be from 257/,
  )
  await expect(train({ sources: [join(folder, 'none')] })).rejects.toThrow(InputError)
  const latin1 = write(folder, 'latin1.txt', Buffer.from('\xe9t\xe9', 'latin1'))
  await expect(train({ sources: [latin1] })).rejects.toThrow(/latin1.txt is not UTF-8/)
  await expect(train({ out: latin1 })).rejects.toThrow(/latin1.txt exists.*--force/)
  writeFileSync(out, 'mine')
  await expect(train({})).rejects.toThrow(/--force/)
  expect(readFileSync(out, 'utf8')).toBe('mine')
})
