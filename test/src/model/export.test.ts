/** Each format of the table is read back by a reader of its own, and stands in docs/EXPORT.md. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { GGMLQuantizationType, gguf } from '@huggingface/gguf'
import { InferenceSession, Tensor } from 'onnxruntime-node'
import { describe, expect, test } from 'vitest'
import { type ExportFormat, exportModel, FORMATS } from '../../../src/model/export.ts'
import { openModel } from '../../../src/model/open-model.ts'
import { DTYPES } from '../../../stages/formats/encodings.ts'
import { temporaryFolder } from '../../fixtures/folder.ts'
import {
  GROUPED,
  type SmallModel,
  smallModel,
  someTokens,
  writeHuggingFace,
} from '../../fixtures/small-model.ts'

/** Float32 over two layers, against float64: a hundred roundings of 6e-8, with a wide margin. */
const LOGITS_RELATIVE = 1e-4

/** Compares an exported file or folder with the model. A format without a reader is an error of types, and fails below. */
const READERS: Readonly<Record<ExportFormat, (path: string, small: SmallModel) => Promise<void>>> =
  {
    async safetensors(path, { weights }) {
      const opened = await openModel({ model: path, run: 'none' })
      for (const [name, expected] of weights) {
        const floats = new Float32Array(expected.length)
        await opened.files.readInto(name, floats)
        expect(floats, name).toEqual(expected)
      }
      await opened.close()
    },

    async gguf(path, { weights }) {
      const { tensorInfos, tensorDataOffset } = await gguf(path, { allowLocalFile: true })
      const file = new Uint8Array(readFileSync(path)).buffer
      const floats = (name: string) => {
        const info = tensorInfos.find((each) => each.name === name)!
        expect(info.dtype).toBe(GGMLQuantizationType.F32)
        const length = info.shape.reduce((size, dimension) => size * Number(dimension), 1)
        return new Float32Array(file, Number(tensorDataOffset + info.offset), length)
      }
      // llama.cpp orders the rows of queries and keys otherwise; gguf.test.ts reads those.
      expect(floats('token_embd.weight')).toEqual(weights.get('model.embed_tokens.weight'))
      expect(floats('blk.1.ffn_down.weight')).toEqual(
        weights.get('model.layers.1.mlp.down_proj.weight'),
      )
      expect(tensorInfos).toHaveLength(weights.size)
    },

    async onnx(path, { logits }) {
      const session = await InferenceSession.create(join(path, 'model.onnx'))
      const tokens = someTokens(9)
      const ids = new Tensor('int64', BigInt64Array.from(tokens, BigInt), [1, tokens.length])
      const result = await session.run({ input_ids: ids })
      expect(result.logits!.data as Float32Array).toBeAllclose(logits(tokens).flat(), {
        relative: LOGITS_RELATIVE,
      })
      await session.release()
    },
  }

function modelFolder() {
  const folder = temporaryFolder()
  const small = smallModel(GROUPED)
  writeHuggingFace(join(folder, 'model'), small)
  const out = join(folder, 'out')
  const options = { model: join(folder, 'model'), run: 'none', out, shardBytes: 50_000 }
  return { small, options }
}

describe.each(FORMATS)('%s', (format) => {
  test('has a reader', () => {
    expect(READERS[format]).toBeDefined()
  })

  test('is read back as it was written', async () => {
    const { small, options } = modelFolder()
    const { tensors, bytes } = await exportModel({ ...options, format, dtype: 'float32' })
    expect(tensors).toBe(small.weights.size)
    expect(bytes).toBeGreaterThan(0)
    await READERS[format](options.out, small)
  })

  test('is written in each dtype that docs/EXPORT.md names, and in no other', async () => {
    const page = readFileSync('docs/EXPORT.md', 'utf8')
    const row = page.split('\n').find((line) => line.startsWith(`| \`${format}\` |`))!
    const documented = row.split('|').at(-2)!.trim().split(', ')
    for (const dtype of DTYPES) {
      const { options } = modelFolder()
      const written = exportModel({ ...options, format, dtype })
      if (documented.includes(dtype)) expect((await written).bytes).toBeGreaterThan(0)
      else await expect(written).rejects.toThrow(`the format ${format} supports`)
    }
  })
})
