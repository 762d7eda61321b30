/** `gensyn-node tokenizer train`: a byte-level BPE in Hugging Face's format, the same for the same text. */
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

/** Different pieces at a time. When there are more, the rarest are forgotten. */
const MAX_PIECES = 1 << 21
/** UTF-16 units. What is longer is no word: hashes, rules of dashes. */
const LONGEST_PIECE = 256

export interface TrainTokenizerOptions {
  /** Files, folders or patterns. */
  readonly sources: readonly string[]
  readonly vocabSize: number
  /** Of JSON Lines and Parquet. */
  readonly field: string
  /** The tokenizer.json to write. */
  readonly out: string
  readonly force: boolean
}

/**
 * Writes the tokenizer.
 * @returns the size of its vocabulary: less than was asked for if the text has no more pairs
 * @throws InputError for a size, sources or a place that will not do; then nothing is written
 */
export async function trainTokenizer(options: TrainTokenizerOptions): Promise<number> {
  const { vocabSize, out, force } = options
  if (!force && existsSync(out)) {
    throw new InputError(`${out} exists. Choose another --out, or replace it with --force.`)
  }
  // In the order of their code points, as the reference numbers them.
  const symbols = BYTE_CHARACTERS.toSorted()
  const smallest = symbols.length + 1
  if (vocabSize < smallest || vocabSize > MAX_VOCABULARY) {
    throw new InputError(
      `--vocab-size is ${vocabSize}: the bytes and ${END_OF_TEXT} take ${smallest}, and ${MAX_VOCABULARY} is the most.`,
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

/** How often each piece occurs, in the order in which they were met first. */
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
          // A copy: a part of a string keeps the whole of it in memory.
          else if (piece.length <= LONGEST_PIECE) counts.set(copyOf(piece), 1)
        }
        for (let rare = 1; counts.size > MAX_PIECES; rare++) {
          counts = new Map([...counts].filter(([, count]) => count > rare))
        }
      }
    }
  }
  if (counts.size > 0) return counts
  throw new InputError(`${sources.join(', ')}: there is no text to learn from.`)
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
