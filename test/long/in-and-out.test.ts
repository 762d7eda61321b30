/** A checkpoint of Hugging Face is imported, trained by real processes, and exported. Damaged input is refused by name. */
import {
  cpSync,
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { Tokenizer } from '@huggingface/tokenizers'
import { describe, expect, onTestFinished, test } from 'vitest'
import { systemClock } from '../../protocols/clock.ts'
import type { Entry } from '../../src/base/journal.ts'
import { Children } from '../../src/cli/children.ts'
import { loadCorpus, microbatch } from '../../src/data/corpus.ts'
import { readRun } from '../../src/run/run.ts'
import { readSafetensors } from '../../stages/safetensors.ts'
import { cli, workFolder } from '../fixtures/cli.ts'
import { GOLDEN } from '../fixtures/dataset.ts'
import { GROUPED, type SmallModel, smallModel, writeHuggingFace } from '../fixtures/small-model.ts'
import { referenceLoss } from '../stages/reference-llama.ts'

const SIZES = ['--context', '24', '--batch', '2', '--microbatches', '2', '--evaluate-every', '100']

/**
 * A folder with a text, a sharded, tied, grouped checkpoint and the manifest of a run from it.
 * @param tokenizer tokenizer of the checkpoint, from test/golden/tokenizers; bytes if it is left out
 */
async function imported(
  options: readonly string[],
  tokenizer?: string,
): Promise<{ folder: string; small: SmallModel }> {
  const folder = workFolder()
  const small = smallModel(tokenizer === undefined ? GROUPED : { ...GROUPED, vocabSize: 710 })
  writeHuggingFace(join(folder, 'llama'), small)
  if (tokenizer !== undefined) giveTokenizer(join(folder, 'llama'), tokenizer)
  const args = ['import', 'llama', '--data', 'text.txt', ...SIZES, ...options]
  expect(await cli(args, folder)).toMatchObject({ code: 0, stderr: '' })
  return { folder, small }
}

const TOKENIZERS = join(GOLDEN, 'tokenizers')

function giveTokenizer(llama: string, name: string): void {
  cpSync(join(TOKENIZERS, `${name}.json`), join(llama, 'tokenizer.json'))
  const ends = name === 'unigram' ? '</s>' : '<|endoftext|>'
  writeFileSync(join(llama, 'tokenizer_config.json'), JSON.stringify({ eos_token: ends }))
}

/** Expected loss of the first step, in float64 from the checkpoint's weights. */
async function firstLoss(runPath: string, small: SmallModel): Promise<number> {
  const run = readRun(runPath)
  const corpus = await loadCorpus(run, runPath)
  const rows = [0, 1].flatMap((index) => {
    const { tokens, targets } = microbatch(run, corpus, 1, index)
    return [0, 24].map((at) =>
      referenceLoss(small.logits(tokens.subarray(at, at + 24)), targets.subarray(at, at + 24)),
    )
  })
  return rows.reduce((sum, loss) => sum + loss, 0) / rows.length
}

/** Trains until the end, with one process for each stage. */
async function train(folder: string, ...options: string[]): Promise<Entry[]> {
  const { stages } = readRun(join(folder, 'run.json'))
  const children = new Children()
  onTestFinished(() => children.stop(systemClock))
  const entries: Entry[] = []
  const run = join(folder, 'run.json')
  const args = ['join', '--run', run, '--threads', '1', '--provider', 'cpu', ...options]
  const all = Array.from({ length: stages + 1 }, () =>
    children.start(args, (entry) => entries.push(entry), expect.unreachable),
  )
  const exits = await Promise.all(all.map(({ exited }) => exited))
  expect(exits).toEqual(Array(stages + 1).fill(0))
  return entries
}

/**
 * Trains until the end. The loss of the first step must be the checkpoint's in float64, and the last loss lower.
 * @param by smallest decrease of the loss, in nats
 */
async function expectToLearn(folder: string, small: SmallModel, steps: number, by: number) {
  const entries = await train(folder)
  const losses = entries.flatMap((entry) => (entry.type === 'step' ? [entry.loss] : []))
  expect(losses).toHaveLength(steps)
  const first = await firstLoss(join(folder, 'run.json'), small)
  expect([losses[0]!]).toBeAllclose([first], { relative: 1e-5 })
  expect(losses.at(-1)!).toBeLessThan(losses[0]! - by)
}

/** The result of `eval` on a part of the text, by default for the run's model. */
async function judged(folder: string, ...args: string[]) {
  const { stdout } = await cli(['eval', 'part.txt', '--context', '64', '--json', ...args], folder)
  return JSON.parse(stdout) as { nats: number; tokens: number; bytes: number }
}

/** The tensors of an exported folder, from all its shards. */
function tensorsIn(folder: string): Map<string, Float32Array> {
  const shards = readdirSync(folder).filter((name) => name.endsWith('.safetensors'))
  return new Map(
    shards.flatMap((name) =>
      [...readSafetensors(readFileSync(join(folder, name))).tensors].map(
        ([tensor, { data }]) => [tensor, data as Float32Array] as const,
      ),
    ),
  )
}

test('a run starts from a checkpoint and learns, and its model can be exported, evaluated and used to generate text', async () => {
  const { folder, small } = await imported(['--steps', '20', '--warmup-steps', '1'])
  await expectToLearn(folder, small, 20, 0.5)

  const out = ['export', '--format', 'safetensors', '--out', 'out', '--shard-size', '20000']
  expect(await cli(out, folder)).toMatchObject({ code: 0, stderr: '' })
  const tensors = tensorsIn(join(folder, 'out'))
  expect([...tensors.keys()].sort()).toEqual([...small.weights.keys()].sort())
  expect(readdirSync(join(folder, 'out')).length).toBeGreaterThan(6)
  const config = JSON.parse(readFileSync(join(folder, 'out', 'config.json'), 'utf8'))
  expect(config).toMatchObject({
    model_type: 'llama',
    num_key_value_heads: 2,
    head_dim: 12,
    tie_word_embeddings: true,
    eos_token_id: 0,
    max_position_embeddings: 512,
  })

  // The model of the run equals the exported one, and has a lower loss than the checkpoint.
  const text = readFileSync(join(folder, 'text.txt'))
  writeFileSync(join(folder, 'part.txt'), text.subarray(-4000))
  const after = await judged(folder)
  expect((await judged(folder, '--model', 'out')).nats).toBe(after.nats)
  expect((await judged(folder, '--model', 'llama')).nats).toBeGreaterThan(after.nats + 0.5)

  const speak = ['generate', '--prompt', 'the ', '--max-tokens', '20', '--json']
  const spoken = await cli(speak, folder)
  const { tokens, end } = JSON.parse(spoken.stdout)
  expect({ count: tokens.length, end }).toEqual({ count: 20, end: 'length' })
  expect(JSON.parse((await cli(speak, folder)).stdout).tokens).toEqual(tokens)
}, 180_000)

test('tensors that training does not change are exported bit for bit', async () => {
  // A learning rate of 1e-30 is below the rounding of every weight.
  const { folder, small } = await imported(['--steps', '2', '--learning-rate', '1e-30'])
  const [there, moved] = [join(folder, 'llama'), join(folder, 'moved')]
  renameSync(there, moved)
  await train(folder, '--weights', moved)
  renameSync(moved, there)
  const out = ['export', '--format', 'safetensors', '--out', 'out']
  expect(await cli(out, folder)).toMatchObject({ code: 0 })
  expect(tensorsIn(join(folder, 'out'))).toEqual(new Map([...small.weights]))
})

test.each(['gpt2', 'unigram'])(
  'a checkpoint with the tokenizer %s trains on the tokens of this tokenizer',
  async (name) => {
    const settings = ['--steps', '12', '--warmup-steps', '1', '--held-out', '0.3', '--stages', '1']
    const { folder, small } = await imported(settings, name)
    await expectToLearn(folder, small, 12, 0.3)

    // The dataset has the library's tokens of the text.
    const runPath = join(folder, 'run.json')
    const run = readRun(runPath)
    const { tokens } = microbatch(run, await loadCorpus(run, runPath), 1, 0)
    const json = JSON.parse(readFileSync(join(TOKENIZERS, `${name}.json`), 'utf8'))
    const library = new Tokenizer(json, {}) as { decode(tokens: number[], options: object): string }
    const options = { skip_special_tokens: true, clean_up_tokenization_spaces: false }
    const words = library.decode([...tokens.subarray(0, 24)], options)
    expect(readFileSync(join(folder, 'text.txt'), 'utf8')).toContain(words.trim())

    const out = ['export', '--format', 'safetensors', '--out', 'out']
    expect(await cli(out, folder)).toMatchObject({ code: 0, stderr: '' })
    for (const file of ['tokenizer.json', 'tokenizer_config.json']) {
      const exported = readFileSync(join(folder, 'out', file))
      expect(exported).toEqual(readFileSync(join(folder, 'llama', file)))
    }
    writeFileSync(join(folder, 'part.txt'), readFileSync(join(folder, 'text.txt')).subarray(-2000))
    const after = await judged(folder)
    expect(after.bytes).toBeGreaterThan(after.tokens)
    expect((await judged(folder, '--model', 'out')).nats).toBe(after.nats)
    expect((await judged(folder, '--model', 'llama')).nats).toBeGreaterThan(after.nats + 0.3)
  },
  180_000,
)

test("a dataset that was prepared with another tokenizer than the checkpoint's is refused", async () => {
  const folder = workFolder()
  writeHuggingFace(join(folder, 'llama'), smallModel({ ...GROUPED, vocabSize: 710 }))
  giveTokenizer(join(folder, 'llama'), 'gpt2')
  const { code } = await cli(['prepare', 'text.txt', '--held-out', '0.3'], folder)
  expect(code).toBe(0)
  const refused = await cli(['import', 'llama', '--data', 'dataset', ...SIZES], folder)
  expect(refused.stderr).toMatch(/dataset was prepared with another tokenizer than llama/)
  expect(refused.code).toBe(2)
  expect(existsSync(join(folder, 'run.json'))).toBe(false)
})

interface Case {
  readonly name: string
  readonly damage: (llama: string) => void
  readonly says: readonly RegExp[]
}

const LAST = 'model-00003-of-00003.safetensors'

function edit(path: string, change: (content: Buffer) => Uint8Array | string): void {
  writeFileSync(path, change(readFileSync(path)))
}

function withJson(path: string, change: (json: Record<string, unknown>) => object): void {
  edit(path, (content) => JSON.stringify(change(JSON.parse(content.toString()))))
}

const CASES: readonly Case[] = [
  {
    name: 'a corrupt header',
    damage: (llama) => edit(join(llama, LAST), (bytes) => bytes.fill(0x7b, 8, 40)),
    says: [
      /model-00003-of-00003\.safetensors is not an intact safetensors file: the header is not JSON/,
    ],
  },
  {
    name: 'a file cut short',
    damage: (llama) => edit(join(llama, LAST), (bytes) => bytes.subarray(0, -4)),
    says: [/model-00003-of-00003\.safetensors/, /tensor model\.layers\.1\..* ends at byte/],
  },
  {
    name: 'a tensor of the wrong shape',
    damage: (llama) =>
      edit(join(llama, LAST), (bytes) =>
        Buffer.from(bytes.toString('latin1').replace('[48,32]', '[32,48]'), 'latin1'),
      ),
    says: [/tensor model\.layers\.1\.\S+ is \[32,48\], the model needs \[48,32\]/],
  },
  {
    name: 'a missing shard',
    damage: (llama) => rmSync(join(llama, LAST)),
    says: [/model-00003-of-00003\.safetensors is missing/],
  },
  {
    name: 'a missing tensor',
    damage: (llama) =>
      withJson(join(llama, 'config.json'), (config) => ({ ...config, num_hidden_layers: 3 })),
    says: [/tensor model\.layers\.2\.input_layernorm\.weight is missing/],
  },
  {
    name: 'a tokenizer that does not fit',
    damage: (llama) =>
      withJson(join(llama, 'tokenizer.json'), (json) => ({
        ...json,
        added_tokens: [{ id: 300, content: '<|end|>', special: true }],
      })),
    says: [/tokenizer\.json does not fit the model/, /token id is 300.*ends at 255/],
  },
  {
    name: 'an architecture that is not supported',
    damage: (llama) =>
      withJson(join(llama, 'config.json'), (config) => ({ ...config, model_type: 'mamba' })),
    says: [/config\.json: model_type is "mamba"; supported is "llama"/],
  },
  {
    name: 'a shard named outside of the folder',
    damage: (llama) =>
      withJson(join(llama, 'model.safetensors.index.json'), ({ weight_map: map }) => ({
        weight_map: { ...(map as object), 'lm_head.weight': '../../secret.safetensors' },
      })),
    says: [/"\.\.\/\.\.\/secret\.safetensors" is not the name of a file in the same folder/],
  },
]

describe('import, join and export write no file and refuse', () => {
  const small = smallModel(GROUPED)

  test.each(CASES)('$name', async ({ damage, says }) => {
    const folder = workFolder()
    writeHuggingFace(join(folder, 'llama'), small)
    damage(join(folder, 'llama'))
    const there = readdirSync(folder)
    for (const args of [
      ['import', 'llama', '--data', 'text.txt', ...SIZES],
      ['export', '--model', 'llama', '--format', 'gguf', '--out', 'llama.gguf'],
    ]) {
      const { code, stderr } = await cli(args, folder)
      for (const pattern of says) expect(stderr).toMatch(pattern)
      expect(stderr).not.toMatch(/^\s+at /m)
      expect(code).toBe(2)
    }
    expect(readdirSync(folder)).toEqual(there)
  })

  test('a checkpoint that changed after the import', async () => {
    const { folder } = await imported(['--steps', '2', '--stages', '1'])
    // One bit of the last tensor is changed.
    edit(join(folder, 'llama', LAST), (bytes) => {
      bytes[bytes.length - 1]! ^= 1
      return bytes
    })
    const { code, stdout, stderr } = await cli(['join', '--stage', '1', '--no-mdns'], folder)
    expect(stdout + stderr).toMatch(
      /tensor model\.layers\.1\.\S+ is not the one that the run was made for/,
    )
    expect(code).not.toBe(0)
  })

  test('an existing --out, a dtype that the format does not support, and a run without saved weights', async () => {
    const folder = workFolder()
    writeHuggingFace(join(folder, 'llama'), small)
    cpSync(join(folder, 'llama'), join(folder, 'out'), { recursive: true })
    const given = ['export', '--model', 'llama']
    expect(await cli([...given, '--format', 'onnx', '--out', 'out'], folder)).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/--out out exists/),
    })
    const q8 = ['--format', 'safetensors', '--dtype', 'q8_0', '--out', 'other']
    expect(await cli([...given, ...q8], folder)).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(
        /--dtype q8_0: the format safetensors supports float32, float16/,
      ),
    })
    await cli(['init', '--data', 'text.txt', ...SIZES], folder)
    expect(await cli(['export', '--format', 'gguf', '--out', 'x.gguf'], folder)).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/no peer of this run has saved its weights/),
    })
    expect(existsSync(join(folder, 'x.gguf'))).toBe(false)
  })
})
