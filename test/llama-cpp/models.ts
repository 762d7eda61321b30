/** Models with random weights, for llama.cpp. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Tokenizer } from '@huggingface/tokenizers'
import { BYTE_CHARACTERS, byteTokenizer } from '../../stages/formats/byte-tokenizer.ts'
import type { ModelConfig } from '../../stages/model.ts'
import { NO_SCALING } from '../../stages/rope.ts'
import { GROUPED, PLAIN, smallModel, writeHuggingFace } from '../fixtures/small-model.ts'

const SHAPES: Readonly<Record<string, ModelConfig>> = {
  'grouped-tied-wide': GROUPED,
  'stretched-linear': { ...PLAIN, ropeScaling: { ...NO_SCALING, type: 'linear', factor: 4 } },
  'stretched-llama3': {
    ...PLAIN,
    ropeScaling: { ...NO_SCALING, type: 'llama3', factor: 8, originalContext: 64 },
  },
}

export const RANDOM_MODELS = Object.entries(SHAPES).map(([name, model]) => ({
  name,
  write: (folder: string) => writeHuggingFace(folder, smallModel(model)),
}))

const MERGES = ['t h', 'th e', 'Ġ the', 'Ġthe n', 'r e', 'Ġ Ġ', 'i n', '1 2', 'Ã ¼', 'the n']

/** Writes a model with a small byte-level BPE that splits text like GPT-2. Gives the library's encoding. */
export function writeBpeModel(folder: string): (text: string) => number[] {
  const pieces = [...BYTE_CHARACTERS, ...MERGES.map((merge) => merge.replace(' ', ''))]
  const vocab = Object.fromEntries(pieces.map((piece, id) => [piece, id]))
  const end = { id: pieces.length, content: '<|end|>', special: true }
  writeHuggingFace(folder, smallModel({ ...PLAIN, vocabSize: pieces.length + 6 }))
  const bytes = byteTokenizer() as { model: object }
  const splitter = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true }
  const json = {
    ...bytes,
    added_tokens: [{ ...end, single_word: false, lstrip: false, rstrip: false, normalized: false }],
    pre_tokenizer: { ...splitter, use_regex: true },
    model: { ...bytes.model, vocab, merges: MERGES },
  }
  const config = { tokenizer_class: 'PreTrainedTokenizerFast', eos_token: '<|end|>' }
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(json))
  writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify(config))
  const library = new Tokenizer(json, config) as { encode(text: string): { ids: number[] } }
  return (text) => library.encode(text).ids
}
