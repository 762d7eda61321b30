/** `gensyn-node tokenizer train`: learns a byte-level BPE in Hugging Face's format. The same text gives the same file. */
import { existsSync } from 'node:fs'
import { BYTE_CHARACTERS, byteLevelBpe } from '../../stages/formats/byte-tokenizer.ts'
import { replaceFile } from '../base/atomic-file.ts'
import { InputError } from '../base/errors.ts'
import { learnMerges, MAX_VOCABULARY } from './bpe-trainer.ts'
import { copyOf } from './piece-cache.ts'
import { findSource, readDocuments } from './sources.ts'
import { GPT2 } from './tokenizer-json.ts'
import { ByteLevelPreTokenizer } from './tokenizers-library.ts'

const END_OF_TEXT = '<|endoftext|>'

/** Largest number of different pieces in memory. Above it, the rarest pieces are dropped. */
const MAX_PIECES = 1 << 21
/** Longest piece that is counted, in UTF-16 units. Longer ones are not words but, for example, hashes. */
const LONGEST_PIECE = 256

/** Options of `gensyn-node tokenizer train`. */
export interface TrainTokenizerOptions {
  /** Files, folders or patterns. */
  readonly sources: readonly string[]
  readonly vocabSize: number
  /** Field of JSON Lines, or column of Parquet, with the text. */
  readonly field: string
  /** Path of the tokenizer.json to write. */
  readonly out: string
  readonly force: boolean
}

/**
 * Learns a tokenizer and writes it.
 * @returns size of the vocabulary, which is smaller than `vocabSize` if the text has too few different pairs
 * @throws InputError for an invalid size, unusable sources or an existing file; then nothing is written
 */
export async function trainTokenizer(options: TrainTokenizerOptions): Promise<number> {
  const { vocabSize, out, force } = options
  if (!force && existsSync(out)) {
    throw new InputError(`${out} exists. Choose another --out, or replace it with --force.`)
  }
  // The reference numbers the symbols in the order of their code points.
  const symbols = BYTE_CHARACTERS.toSorted()
  const smallest = symbols.length + 1
  if (vocabSize < smallest || vocabSize > MAX_VOCABULARY) {
    throw new InputError(
      `--vocab-size is ${vocabSize}: it must be from ${smallest}, the bytes and ${END_OF_TEXT}, to ${MAX_VOCABULARY}.`,
    )
  }
  const counts = await countPieces(options)
  const toLetters = new ByteLevelPreTokenizer({ use_regex: false })
  const pieces = [...counts].map(([piece, count]) => [toLetters(piece)[0]!, count] as const)
  const { tokens, merges } = learnMerges(pieces, symbols, 1, vocabSize)
  const vocab = Object.fromEntries([END_OF_TEXT, ...tokens].map((token, id) => [token, id]))
  replaceFile(out, `${JSON.stringify(tokenizerJson(vocab, merges), null, 1)}\n`)
  return tokens.length + 1
}

/** Number of occurrences of each piece, in the order of their first occurrence. */
async function countPieces({
  sources,
  field,
}: TrainTokenizerOptions): Promise<Map<string, number>> {
  const pattern = new RegExp(GPT2, 'gu')
  let counts = new Map<string, number>()
  for (const source of sources.map(findSource)) {
    for (const { path } of source.files) {
      for await (const { data } of readDocuments(path, {
        field,
        bytes: false,
        onChunk: () => {},
      })) {
        for (const piece of (data as string).match(pattern) ?? []) {
          const count = counts.get(piece)
          if (count !== undefined) counts.set(piece, count + 1)
          // A substring would keep the whole text in memory.
          else if (piece.length <= LONGEST_PIECE) counts.set(copyOf(piece), 1)
        }
        for (let rare = 1; counts.size > MAX_PIECES; rare++) {
          counts = new Map([...counts].filter(([, count]) => count > rare))
        }
      }
    }
  }
  if (counts.size > 0) return counts
  throw new InputError(`${sources.join(', ')}: the sources contain no text.`)
}

function tokenizerJson(
  vocab: Readonly<Record<string, number>>,
  merges: readonly (readonly [string, string])[],
) {
  const endOfText = {
    id: 0,
    content: END_OF_TEXT,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  }
  return byteLevelBpe({ addedTokens: [endOfText], useRegex: true, vocab, merges })
}
