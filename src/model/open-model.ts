/** Opens a whole model: the saved stages of a run, the stages of a running swarm, or a folder in Hugging Face's layout. */
import { existsSync, readFileSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { INDEX, SINGLE } from '../../stages/formats/shards.ts'
import {
  HuggingFaceConfigError,
  modelFromHuggingFace,
  modelToHuggingFace,
} from '../../stages/hugging-face-config.ts'
import type { ModelConfig } from '../../stages/model.ts'
import { modelTensors } from '../../stages/parameters.ts'
import { InputError, systemCode } from '../base/errors.ts'
import { openDataset, preparedFolder } from '../data/prepared-corpus.ts'
import { type Run, readRun, runId } from '../run/run.ts'
import type { LiveStages } from './live-stages.ts'
import { stageFiles } from './stage-file.ts'
import { checkTensors, TensorFiles } from './tensor-files.ts'
import { bytesAsTokens, type ModelTokenizer, readTokenizer } from './tokenizer-files.ts'

/** A model whose files are open. */
export interface OpenedModel {
  /** Name for people. */
  readonly name: string
  readonly model: ModelConfig
  /** Number of tokens in the training context. */
  readonly context: number
  /** Step of the run; null for a model that is not a run's. */
  readonly step: number | null
  readonly files: TensorFiles
  /** Closes the files. */
  close(): Promise<void>
  readonly tokenizer: ModelTokenizer
  /** Content of config.json and of generation_config.json, for other programs. */
  readonly config: Readonly<Record<string, unknown>>
  readonly generation: Readonly<Record<string, unknown>>
}

/** Which model is opened. */
export interface OpenModelOptions {
  /** Folder in Hugging Face's layout; undefined for the model of a run. */
  readonly model?: string | undefined
  /** Path of the run's manifest. */
  readonly run: string
  readonly dataDir?: string | undefined
  /** File with the secret of a running swarm; undefined for the file beside the manifest. */
  readonly secretFile?: string | undefined
  /** Addresses of peers of a running swarm, whose weights are fetched; true for the peers of this machine. */
  readonly peer?: readonly string[] | true | undefined
}

/**
 * Opens a model. The caller closes it.
 * @throws InputError that names the missing, damaged or unsupported part
 */
export async function openModel(options: OpenModelOptions): Promise<OpenedModel> {
  const { model, run: path, peer } = options
  if (model !== undefined && peer !== undefined) {
    throw new InputError('--model and --peer name two models: leave out one of them.')
  }
  if (model !== undefined) return openFolder(model)
  const run = readRun(path)
  const dataDir = options.dataDir ?? join(dirname(resolve(path)), '.gensyn')
  if (peer === undefined) {
    const found = await stageFiles(dataDir, runId(run), run.stages + 1)
    return openStages(path, run, dataDir, { ...found, dataset: preparedFolder(run, path) })
  }
  // Loaded on demand, since libp2p takes longer to load than a small model.
  const { fetchStages } = await import('./live-stages.ts')
  const { remove, ...stages } = await fetchStages(run, path, {
    dataDir,
    addresses: peer === true ? undefined : peer,
    secretFile: options.secretFile,
  })
  try {
    const checkpoint = await openStages(path, run, 'The running swarm', stages)
    const close = () => checkpoint.close().finally(remove)
    return { ...checkpoint, close }
  } catch (error) {
    remove()
    throw error
  }
}

/** @param where place of the stages, for messages */
async function openStages(
  path: string,
  run: Run,
  where: string,
  { step, paths, dataset }: Omit<LiveStages, 'remove'>,
): Promise<OpenedModel> {
  const origin = run.initial === null ? null : initialFolder(path, run.initial.path)
  const source = origin === null ? {} : readJson(join(origin, 'config.json'))
  // A model that was imported keeps its context, even if the run trains on shorter sequences.
  const context = Math.max(run.microbatch.context, Number(source.max_position_embeddings ?? 0))
  const config = modelToHuggingFace(run.model, context)
  const tokenizer =
    origin === null
      ? tokenizerOf(run, dataset, context)
      : readTokenizer(origin, run.model.vocabSize)
  return {
    name: run.name,
    model: run.model,
    context,
    step,
    tokenizer,
    config: { ...config, ...specialTokens(source, tokenizer) },
    generation: origin === null ? MODEL_CONFIG : generationOf(origin),
    ...(await openTensors(where, run.model, paths)),
  }
}

/** Folder of the checkpoint that a run was imported from. */
export function initialFolder(runPath: string, path: string): string {
  return resolve(dirname(runPath), path)
}

/** Keys of config.json with ids of special tokens, which are copied to an export. */
const SPECIAL_TOKENS = ['bos_token_id', 'eos_token_id', 'pad_token_id']

function specialTokens(
  config: Record<string, unknown>,
  { isBytes, endOfText }: ModelTokenizer,
): Record<string, unknown> {
  const known = Object.entries(config).filter(([key]) => SPECIAL_TOKENS.includes(key))
  // Byte 0 ends a text, but is not a special token of config.json.
  const own = isBytes || endOfText === null ? {} : { eos_token_id: endOfText }
  return { ...own, ...Object.fromEntries(known) }
}

/** Tokenizer of a run that was not imported: the tokenizer of its dataset, or bytes. */
function tokenizerOf(run: Run, folder: string | null, context: number): ModelTokenizer {
  if (folder === null) return bytesAsTokens(context)
  const { kind, endOfText } = openDataset(run, folder).tokenizer
  if (kind === 'bytes') return bytesAsTokens(context)
  return readTokenizer(folder, run.model.vocabSize, endOfText)
}

/** A generation_config.json that adds nothing to config.json. */
const MODEL_CONFIG = { _from_model_config: true }

function generationOf(folder: string): Record<string, unknown> {
  const path = join(folder, 'generation_config.json')
  return existsSync(path) ? readJson(path) : MODEL_CONFIG
}

/** Opens a folder in Hugging Face's layout. @throws InputError that names the missing, damaged or unsupported part */
export async function openFolder(folder: string): Promise<OpenedModel> {
  const path = join(folder, 'config.json')
  const config = readJson(path)
  const { model, context } = modelOf(path, config)
  const tokenizer = readTokenizer(folder, model.vocabSize)
  return {
    name: basename(resolve(folder)),
    model,
    context,
    step: null,
    ...(await openTensors(folder, model, weightFiles(folder))),
    tokenizer,
    config,
    generation: generationOf(folder),
  }
}

/** Names of buffers in old exports that are not weights. */
const NO_WEIGHT = /rotary_emb\.inv_freq$/

async function openTensors(
  where: string,
  model: ModelConfig,
  paths: readonly string[],
): Promise<Pick<OpenedModel, 'files' | 'close'>> {
  const files = await TensorFiles.open(paths)
  try {
    const expected = new Map(modelTensors(model).map(({ name, shape }) => [name, shape]))
    checkTensors(where, files, expected, (name) => NO_WEIGHT.test(name))
    return { files, close: () => files.close() }
  } catch (error) {
    await files.close()
    throw error
  }
}

/** Hugging Face's default for a config.json without a context. */
const CONTEXT = 2048

function modelOf(path: string, config: Record<string, unknown>) {
  try {
    const { max_position_embeddings: context = CONTEXT } = config
    return { model: modelFromHuggingFace(config), context: Number(context) }
  } catch (error) {
    if (error instanceof HuggingFaceConfigError) throw new InputError(`${path}: ${error.message}`)
    throw error
  }
}

/** Weight files of a folder: the files that the index names, or the single file without an index. */
function weightFiles(folder: string): string[] {
  const index = join(folder, INDEX)
  if (!existsSync(index)) {
    const single = join(folder, SINGLE)
    if (existsSync(single)) return [single]
    throw new InputError(
      `${folder} has no weights: it contains neither ${SINGLE} nor ${INDEX}. Only safetensors are read.`,
    )
  }
  const { weight_map: map } = readJson(index)
  const names = typeof map === 'object' && map !== null ? Object.values(map) : []
  const shards = [...new Set(names)]
  if (shards.length === 0) throw new InputError(`${index} names no files.`)
  return shards.map((name) => {
    // A name must not point outside the folder.
    if (typeof name !== 'string' || basename(name) !== name || name === '..') {
      throw new InputError(
        `${index}: ${JSON.stringify(name)} is not the name of a file in the same folder.`,
      )
    }
    const path = join(folder, name)
    if (!existsSync(path)) {
      throw new InputError(`${path} is missing, but ${INDEX} names it.`)
    }
    return path
  })
}

function readJson(path: string): Record<string, unknown> {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    const code = systemCode(error)
    throw new InputError(
      `${path} ${code === 'ENOENT' ? 'does not exist' : `cannot be read (${code})`}: the folder of a model needs this file.`,
    )
  }
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>
  } catch {}
  throw new InputError(`${path} is not JSON, or only the beginning of it. Copy it again.`)
}
