/**
 * The microbatches of a prepared dataset. A source's tokens are cut into consecutive sequences of the context's length.
 * A sequence may contain several documents, separated by end-of-text tokens. There is no padding, and only the rest at
 * the end of a source is not used.
 */

import { dirname, resolve } from 'node:path'
import { InputError } from '../base/errors.ts'
import type { Tokens } from '../run/batch-source.ts'
import type { Run } from '../run/run.ts'
import { type Dataset, readDataset, type Shard, type Stream } from './dataset.ts'
import { Sampling } from './sampling.ts'

/** Reads bytes of shards. */
export interface ShardReader {
  /**
   * Fills `into` with the bytes from `offset`.
   * @throws InputError if the shard is missing, or does not match its digest
   */
  read(shard: Shard, offset: number, into: Uint8Array): void
}

/** A row of a microbatch: `context` + 1 tokens of a stream, from token `from` on. */
interface Row {
  readonly stream: Stream
  readonly from: number
}

/** A prepared dataset, cut into the microbatches of a run. */
export class PreparedCorpus {
  readonly #run: Run
  readonly #dataset: Dataset
  readonly #reader: ShardReader
  readonly #sampling: Sampling
  /** Number of positions at which a row can start, for each held-out stream. */
  readonly #heldOutStarts: readonly number[]

  /** @throws InputError if the dataset does not fit the run */
  constructor(run: Run, dataset: Dataset, reader: ShardReader) {
    const { context } = run.microbatch
    this.#run = run
    this.#dataset = dataset
    this.#reader = reader
    checkFit(run, dataset)
    const sources = dataset.sources.map(({ weight, train }) => ({
      weight,
      sequences: Math.floor((train.tokens - 1) / context),
    }))
    this.#sampling = new Sampling(run.seed, sources)
    this.#heldOutStarts = dataset.sources.map(({ heldOut }) =>
      Math.max(0, heldOut.tokens - context),
    )
  }

  /** Tokens and targets of training microbatch `index` of `step`, each [batch, context]. Steps count from 1. */
  microbatch(step: number, index: number): Tokens {
    return this.#tokens(this.#rows(step, index))
  }

  /** Tokens and targets of microbatch `index` of every evaluation. The rows are spread evenly over the held-out streams. */
  heldOutMicrobatch(index: number): Tokens {
    return this.#tokens(this.#heldOutRows(index))
  }

  /** Shards that `microbatch` reads. */
  shardsOf(step: number, index: number): Shard[] {
    return this.#shards(this.#rows(step, index))
  }

  /** Shards that `heldOutMicrobatch` reads. */
  heldOutShardsOf(index: number): Shard[] {
    return this.#shards(this.#heldOutRows(index))
  }

  #rows(step: number, index: number): Row[] {
    const { microbatch, microbatches } = this.#run
    const first = ((step - 1) * microbatches + index) * microbatch.batch
    return Array.from({ length: microbatch.batch }, (_, row) => {
      const { source, sequence } = this.#sampling.at(first + row)
      const stream = this.#dataset.sources[source]!.train
      return { stream, from: sequence * microbatch.context }
    })
  }

  #heldOutRows(index: number): Row[] {
    const { microbatch, evaluation } = this.#run
    const starts = this.#heldOutStarts.reduce((sum, own) => sum + own, 0)
    const rows = evaluation.microbatches * microbatch.batch
    return Array.from({ length: microbatch.batch }, (_, row) => {
      let from = Math.floor(((index * microbatch.batch + row) / rows) * starts)
      let source = 0
      while (from >= this.#heldOutStarts[source]!) from -= this.#heldOutStarts[source++]!
      return { stream: this.#dataset.sources[source]!.heldOut, from }
    })
  }

  #tokens(rows: readonly Row[]): Tokens {
    const { context } = this.#run.microbatch
    const tokens = new Int32Array(rows.length * context)
    const targets = new Int32Array(rows.length * context)
    const width = this.#dataset.bytesPerToken
    const bytes = new Uint8Array((context + 1) * width)
    const view = width === 2 ? new Uint16Array(bytes.buffer) : new Uint32Array(bytes.buffer)
    rows.forEach((row, index) => {
      for (const { shard, offset, at, length } of this.#pieces(row)) {
        this.#reader.read(shard, offset * width, bytes.subarray(at * width, (at + length) * width))
      }
      tokens.set(view.subarray(0, context), index * context)
      targets.set(view.subarray(1), index * context)
    })
    return { tokens, targets }
  }

  #shards(rows: readonly Row[]): Shard[] {
    return [...new Set(rows.flatMap((row) => this.#pieces(row).map(({ shard }) => shard)))]
  }

  /** Ranges of shards with the tokens of a row. Most rows lie in one shard. */
  #pieces({ stream, from }: Row) {
    const { shardTokens } = this.#dataset
    const end = from + this.#run.microbatch.context + 1
    const pieces: { shard: Shard; offset: number; at: number; length: number }[] = []
    for (let token = from; token < end; ) {
      const index = Math.floor(token / shardTokens)
      const next = Math.min(end, (index + 1) * shardTokens)
      const offset = token - index * shardTokens
      pieces.push({ shard: stream.shards[index]!, offset, at: token - from, length: next - token })
      token = next
    }
    return pieces
  }
}

/** Folder of the run's dataset; null for a run on plain text. */
export function preparedFolder({ data }: Run, runPath: string): string | null {
  const [, name] = /^prepared:(.+)$/.exec(data.source) ?? []
  return name === undefined ? null : resolve(dirname(runPath), name)
}

/** Reads the dataset of a run. @throws InputError if it is not the dataset that the run was made for */
export function openDataset({ data }: Run, folder: string): Dataset {
  const { dataset, sha256 } = readDataset(folder)
  if (sha256 === data.sha256) return dataset
  // The reason goes to other members. It says nothing of a local file, which a foreign manifest may name.
  throw new InputError(
    `${folder} is not the dataset that the run was made for: its dataset.json has another SHA-256 than the manifest, ` +
      `which says ${data.sha256}. Restore the original dataset, or make a new run with \`gensyn-node init\`.`,
  )
}

/** Checks that the run can train on the dataset. @throws InputError if it cannot */
export function checkFit({ data, model, microbatch }: Run, { tokenizer, sources }: Dataset): void {
  const { context } = microbatch
  if (tokenizer.vocabSize > model.vocabSize) {
    throw new InputError(
      `model.vocabSize is ${model.vocabSize}, but the tokenizer of ${data.source} has ${tokenizer.vocabSize} tokens: ` +
        'the model needs at least as many (--vocab).',
    )
  }
  const short = sources.find(({ train }) => train.tokens <= context)
  if (short !== undefined) {
    throw new InputError(
      `${data.source}: ${short.name} has ${short.train.tokens} tokens to train on, and one sequence needs ` +
        `${context + 1}. Use more text, or a smaller context.`,
    )
  }
  if (!sources.some(({ heldOut }) => heldOut.tokens > context)) {
    throw new InputError(
      `${data.source} has no source with ${context + 1} held-out tokens, the length of one sequence. ` +
        'Prepare it with a larger --held-out, or with more documents.',
    )
  }
}
