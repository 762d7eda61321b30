/** A model's tokenizer in llama.cpp's words. */
import type { GgufMetadata } from '../stages/formats/gguf.ts'
import { ggufByteTokenizer } from '../stages/formats/gguf-tokenizer.ts'
import { InputError } from './errors.ts'
import type { ModelTokenizer } from './tokenizer-files.ts'

/** @throws InputError for a tokenizer that llama.cpp has no name for */
export function ggufTokenizerOf(tokenizer: ModelTokenizer, vocabSize: number): GgufMetadata {
  if (tokenizer.isBytes) return ggufByteTokenizer(vocabSize)
  throw new InputError('only bytes')
}
