/** Tokenizers as llama.cpp reads them from GGUF. */
import { BYTE_CHARACTERS, END_OF_TEXT } from './byte-tokenizer.ts'
import type { GgufMetadata } from './gguf.ts'

/** llama_token_type */
const NORMAL = 1
const UNUSED = 5

/**
 * Bytes as tokens: GPT-2's byte-level BPE without merges. Where it is given no token that ends a text, llama.cpp takes
 * number 11.
 * @param vocabSize rows of the embedding; those beyond the bytes are named and never made from text
 */
export function ggufByteTokenizer(vocabSize: number): GgufMetadata {
  const unused = Array.from(
    { length: vocabSize - BYTE_CHARACTERS.length },
    (_, i) => `[UNUSED${BYTE_CHARACTERS.length + i}]`,
  )
  return [
    ['tokenizer.ggml.model', { string: 'gpt2' }],
    ['tokenizer.ggml.pre', { string: 'gpt-2' }],
    ['tokenizer.ggml.tokens', { strings: [...BYTE_CHARACTERS, ...unused] }],
    [
      'tokenizer.ggml.token_type',
      { int32s: [...BYTE_CHARACTERS.map(() => NORMAL), ...unused.map(() => UNUSED)] },
    ],
    ['tokenizer.ggml.merges', { strings: [] }],
    ['tokenizer.ggml.bos_token_id', { uint32: END_OF_TEXT }],
    ['tokenizer.ggml.eos_token_id', { uint32: END_OF_TEXT }],
    ['tokenizer.ggml.add_bos_token', { bool: false }],
    ['tokenizer.ggml.add_eos_token', { bool: false }],
    ['tokenizer.ggml.add_space_prefix', { bool: false }],
  ]
}
