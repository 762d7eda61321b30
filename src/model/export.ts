/** `gensyn-node export`: writes a model in the formats of other programs. */
import type { ExportDtype } from '../../stages/formats/encodings.ts'
import type { GgufMetadata } from '../../stages/formats/gguf.ts'
import { planGgufLlama } from '../../stages/formats/gguf-llama.ts'
import {
  GgufTokenizerError,
  ggufBpeTokenizer,
  ggufByteTokenizer,
} from '../../stages/formats/gguf-tokenizer.ts'
import { planOnnx } from '../../stages/formats/onnx-llama.ts'
import type { PlannedFile } from '../../stages/formats/piece.ts'
import { planSafetensors } from '../../stages/formats/shards.ts'
import { modelTensors } from '../../stages/parameters.ts'
import { InputError } from '../base/errors.ts'
import { type OpenedModel, type OpenModelOptions, openModel } from './open-model.ts'
import type { ModelTokenizer } from './tokenizer-files.ts'
import { writeFile, writeFolder } from './write-files.ts'

/** Options of `gensyn-node export`. */
export interface ExportOptions extends OpenModelOptions {
  readonly format: ExportFormat
  readonly dtype: ExportDtype
  /** Path of a new folder; with gguf, of a new file. */
  readonly out: string
  /** Largest size of a safetensors file, in bytes. */
  readonly shardBytes: number
}

/** The result of an export. */
export interface Exported {
  /** Step of the run; null for a model that is not a run's. */
  readonly step: number | null
  readonly tensors: number
  readonly bytes: number
}

/** A row of the table of formats. */
interface Writer {
  /** Element types that the format can hold. */
  readonly dtypes: readonly ExportDtype[]
  /** Writes the model to `options.out`. Gives the number of bytes. */
  write(checkpoint: OpenedModel, options: ExportOptions): Promise<number>
}

/** The table of formats. A format is a plan in `stages/formats/` and a row here. */
const WRITERS = {
  safetensors: {
    dtypes: ['float32', 'float16', 'bfloat16'],
    write: (checkpoint, { out, dtype, shardBytes }) => {
      const weights = planSafetensors(modelTensors(checkpoint.model), dtype, shardBytes)
      const files = [...weights, ...companions(checkpoint, dtype)]
      return writeFolder(out, files, checkpoint.files)
    },
  },
  gguf: {
    dtypes: ['float32', 'float16', 'bfloat16', 'q8_0'],
    write: ({ name, model, context, files, tokenizer }, { out, dtype }) => {
      const options = { name, context, dtype, tokenizer: inGguf(tokenizer, model.vocabSize) }
      return writeFile(out, planGgufLlama(model, modelTensors(model), options), files)
    },
  },
  onnx: {
    dtypes: ['float32'],
    write: (checkpoint, { out, dtype }) => {
      const graph = planOnnx(checkpoint.model, modelTensors(checkpoint.model))
      return writeFolder(out, [...graph, ...companions(checkpoint, dtype)], checkpoint.files)
    },
  },
} satisfies Readonly<Record<string, Writer>>

export type ExportFormat = keyof typeof WRITERS

export const FORMATS = Object.keys(WRITERS) as ExportFormat[]

/**
 * Exports a model.
 * @throws InputError if the model is incomplete, the format does not support the dtype, or `out` cannot be written; then
 *   nothing is written
 */
export async function exportModel(options: ExportOptions): Promise<Exported> {
  const { dtypes, write }: Writer = WRITERS[options.format]
  if (!dtypes.includes(options.dtype)) {
    throw new InputError(
      `--dtype ${options.dtype}: the format ${options.format} supports ${dtypes.join(', ')}.`,
    )
  }
  const checkpoint = await openModel(options)
  try {
    const bytes = await write(checkpoint, options)
    return { step: checkpoint.step, tensors: modelTensors(checkpoint.model).length, bytes }
  } finally {
    await checkpoint.close()
  }
}

function inGguf(tokenizer: ModelTokenizer, vocabSize: number): GgufMetadata {
  if (tokenizer.isBytes) return ggufByteTokenizer(vocabSize)
  const { beginning, endOfText } = tokenizer
  const special = { beginning: beginning[0] ?? null, endOfText, addBeginning: beginning.length > 0 }
  try {
    return ggufBpeTokenizer(tokenizer.json, vocabSize, special)
  } catch (error) {
    if (!(error instanceof GgufTokenizerError)) throw error
    throw new InputError(
      `The tokenizer cannot be written to GGUF: ${error.message}. Export to safetensors, and convert from there.`,
    )
  }
}

/** Files that are written beside the weights. */
function companions({ config, generation, tokenizer }: OpenedModel, dtype: ExportDtype) {
  const json = (value: object) => Buffer.from(`${JSON.stringify(value, null, 2)}\n`)
  const file = (name: string, content: Uint8Array): PlannedFile => ({ name, pieces: [content] })
  return [
    file('config.json', json({ ...config, torch_dtype: dtype })),
    file('generation_config.json', json(generation)),
    ...[...tokenizer.files].map(([name, content]) => file(name, content)),
  ]
}
