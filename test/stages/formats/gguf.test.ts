/** GGUF read back by Hugging Face's reader, tensor by tensor. llama.cpp itself: `npm run test:llama-cpp`. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { GGMLQuantizationType, gguf } from '@huggingface/gguf'
import { expect, test } from 'vitest'
import { planGgufLlama } from '../../../stages/formats/gguf-llama.ts'
import { ggufByteTokenizer } from '../../../stages/formats/gguf-tokenizer.ts'
import { modelTensors } from '../../../stages/parameters.ts'
import { join as joinBytes } from '../../../stages/protobuf.ts'
import { NO_SCALING } from '../../../stages/rope.ts'
import { temporaryFolder } from '../../fixtures/folder.ts'
import { GROUPED, PLAIN, type SmallModel, smallModel } from '../../fixtures/small-model.ts'

async function written(small: SmallModel, dtype: 'float32' | 'float16' | 'q8_0') {
  const { model, weight } = small
  const pieces = planGgufLlama(model, modelTensors(model), {
    name: 'small',
    context: 512,
    dtype,
    tokenizer: ggufByteTokenizer(model.vocabSize),
  })
  const bytes = joinBytes(
    pieces.map((piece) =>
      piece instanceof Uint8Array ? piece : piece.encode(weight(piece.tensor)),
    ),
  )
  const path = join(temporaryFolder(), 'small.gguf')
  writeFileSync(path, bytes)
  return { path, ...(await gguf(path, { allowLocalFile: true })) }
}

type Written = Awaited<ReturnType<typeof written>>

function floatsOf({ path, tensorInfos, tensorDataOffset }: Written, name: string): Float32Array {
  const info = tensorInfos.find((each) => each.name === name)!
  expect(info.dtype).toBe(GGMLQuantizationType.F32)
  const length = info.shape.reduce((size, dimension) => size * Number(dimension), 1)
  const begin = Number(tensorDataOffset + info.offset)
  expect(begin % 32).toBe(0)
  return new Float32Array(new Uint8Array(readFileSync(path)).buffer, begin, length)
}

/** As llama.cpp's own converter does it: [heads, 2, d/2, in] becomes [heads, d/2, 2, in]. */
function permuted(rows: Float32Array, heads: number, headSize: number): number[] {
  const width = rows.length / (heads * headSize)
  const result: number[] = []
  for (let head = 0; head < heads; head++) {
    for (let i = 0; i < headSize / 2; i++) {
      for (const half of [0, 1]) {
        const row = head * headSize + half * (headSize / 2) + i
        result.push(...rows.subarray(row * width, (row + 1) * width))
      }
    }
  }
  return result
}

test('metadata and tensors of a grouped, tied model', async () => {
  const small = smallModel(GROUPED)
  const file = await written(small, 'float32')
  expect(file.metadata).toMatchObject({
    version: 3,
    'general.architecture': 'llama',
    'llama.block_count': 2,
    'llama.context_length': 512,
    'llama.embedding_length': 32,
    'llama.feed_forward_length': 48,
    'llama.attention.head_count': 4,
    'llama.attention.head_count_kv': 2,
    'llama.attention.key_length': 12,
    'llama.rope.dimension_count': 12,
    'llama.rope.freq_base': 10_000,
    'tokenizer.ggml.model': 'gpt2',
    'tokenizer.ggml.merges': [],
    'tokenizer.ggml.add_bos_token': false,
  })
  expect(file.metadata).toHaveProperty(
    ['llama.attention.layer_norm_rms_epsilon'],
    Math.fround(1e-5),
  )
  const names = file.tensorInfos.map(({ name }) => name)
  expect(names).not.toContain('output.weight')
  expect(names).toHaveLength(2 + 2 * 9)
  expect(file.tensorInfos.find(({ name }) => name === 'blk.1.ffn_down.weight')!.shape).toEqual([
    48n,
    32n,
  ])
  const same = {
    'token_embd.weight': 'model.embed_tokens.weight',
    'output_norm.weight': 'model.norm.weight',
    'blk.0.attn_v.weight': 'model.layers.0.self_attn.v_proj.weight',
    'blk.1.attn_output.weight': 'model.layers.1.self_attn.o_proj.weight',
    'blk.1.ffn_gate.weight': 'model.layers.1.mlp.gate_proj.weight',
    'blk.0.ffn_norm.weight': 'model.layers.0.post_attention_layernorm.weight',
  }
  for (const [theirs, ours] of Object.entries(same)) {
    expect(floatsOf(file, theirs)).toEqual(small.weight(ours))
  }
  for (const [kind, heads] of [
    ['q', 4],
    ['k', 2],
  ] as const) {
    const rows = small.weight(`model.layers.1.self_attn.${kind}_proj.weight`)
    const own = floatsOf(file, `blk.1.attn_${kind}.weight`)
    expect(Array.from(own)).toEqual(permuted(rows, heads, 12))
  }
})

test('norms stay float32, and rows that blocks do not divide are halves', async () => {
  const file = await written(smallModel(PLAIN), 'q8_0')
  const dtype = (name: string) => file.tensorInfos.find((each) => each.name === name)!.dtype
  expect(dtype('blk.0.attn_norm.weight')).toBe(GGMLQuantizationType.F32)
  expect(dtype('blk.0.ffn_up.weight')).toBe(GGMLQuantizationType.Q8_0)
  expect(dtype('output.weight')).toBe(GGMLQuantizationType.Q8_0)
  // The width 48 is no multiple of the block of 32.
  expect(dtype('blk.0.ffn_down.weight')).toBe(GGMLQuantizationType.F16)
})

test("long contexts: a factor for all, or llama3's for each frequency", async () => {
  const linear = { ...NO_SCALING, type: 'linear', factor: 4 } as const
  const stretched = await written(smallModel({ ...PLAIN, ropeScaling: linear }), 'float32')
  expect(stretched.metadata).toMatchObject({
    'llama.rope.scaling.type': 'linear',
    'llama.rope.scaling.factor': 4,
  })
  const llama3 = { ...NO_SCALING, type: 'llama3', factor: 8, originalContext: 64 } as const
  const file = await written(smallModel({ ...PLAIN, ropeScaling: llama3 }), 'float32')
  const factors = floatsOf(file, 'rope_freqs.weight')
  // Wave lengths are 2 pi 10^(4 i / 4), in a context of 64 tokens. The first has ten periods and stays, the third less than one.
  expect(factors).toHaveLength(4)
  expect(factors[0]).toBe(1)
  expect(factors[1]).toBeGreaterThan(1)
  expect(Array.from(factors.subarray(2))).toBeAllclose([8, 8], { relative: 1e-6 })
})
