/** Weights in Hugging Face's layout: one model.safetensors, or shards with an index. */
import { encodeHeader } from '../safetensors.ts'
import { ENCODINGS, type ExportDtype, tensorPiece } from './encodings.ts'
import type { ModelTensor, PlannedFile } from './piece.ts'

export const SINGLE = 'model.safetensors'
export const INDEX = 'model.safetensors.index.json'

/** @param shardBytes most bytes of a file. A larger tensor gets a file of its own */
export function planSafetensors(
  tensors: readonly ModelTensor[],
  dtype: ExportDtype,
  shardBytes: number,
): PlannedFile[] {
  const encoding = ENCODINGS[dtype]
  const { safetensors } = encoding
  if (safetensors === undefined) throw new Error(`safetensors has no dtype ${dtype}`)
  const shards: ModelTensor[][] = []
  let room = 0
  for (const tensor of tensors) {
    const { length } = tensorPiece(tensor, encoding)
    if (length > room) {
      shards.push([])
      room = shardBytes
    }
    shards.at(-1)!.push(tensor)
    room -= length
  }
  const files = shards.map((members, i) => ({
    name: shards.length === 1 ? SINGLE : shardName(i, shards.length),
    pieces: [
      encodeHeader(
        members.map(({ name, shape }) => [name, { dtype: safetensors, shape }]),
        { format: 'pt' },
      ),
      ...members.map((tensor) => tensorPiece(tensor, encoding)),
    ],
  }))
  return shards.length === 1 ? files : [...files, indexOf(shards, files, encoding)]
}

function shardName(i: number, count: number): string {
  const five = (number: number) => String(number).padStart(5, '0')
  return `model-${five(i + 1)}-of-${five(count)}.safetensors`
}

function indexOf(
  shards: readonly (readonly ModelTensor[])[],
  files: readonly PlannedFile[],
  encoding: (typeof ENCODINGS)[ExportDtype],
): PlannedFile {
  const total = shards.flat().reduce((sum, each) => sum + tensorPiece(each, encoding).length, 0)
  const map = shards.flatMap((members, i) => members.map(({ name }) => [name, files[i]!.name]))
  const index = { metadata: { total_size: total }, weight_map: Object.fromEntries(map) }
  const text = `${JSON.stringify(index, null, 2)}\n`
  return { name: INDEX, pieces: [new TextEncoder().encode(text)] }
}
