/** Reads one tensor of a checkpoint: only the bytes of its boxes, whose hashes are checked. */
import { bytesOf } from '../../protocols/weights.ts'
import { contiguousStart, copyBox } from '../../stages/boxes.ts'
import { sizeOf } from '../../stages/shape.ts'
import { digestOf } from './digest.ts'
import { CheckpointError } from './error.ts'
import { type Manifest, type StoredTensor, stepFolder } from './manifest.ts'
import type { Store } from './store.ts'

type Copy = StoredTensor['copies'][number]

/**
 * Fills `into`, flat, with the tensor: its only copy, or the mean of several.
 * @param shape the shape that the reader expects
 * @throws CheckpointError that names the tensor
 */
export async function readTensor(
  store: Store,
  manifest: Manifest,
  name: string,
  shape: readonly number[],
  into: Float32Array,
): Promise<void> {
  const tensor = manifest.tensors[name]
  const fail = failure(manifest, name)
  if (tensor === undefined) throw fail('is not in the checkpoint')
  if (String(tensor.shape) !== String(shape)) throw fail(`is [${tensor.shape}], not [${shape}]`)
  const [first, ...others] = tensor.copies
  await readCopy(store, manifest, name, first!, into)
  if (others.length === 0) return
  const sum = Float64Array.from(into)
  for (const copy of others) {
    await readCopy(store, manifest, name, copy, into)
    for (let i = 0; i < sum.length; i++) sum[i]! += into[i]!
  }
  for (let i = 0; i < sum.length; i++) into[i] = sum[i]! / tensor.copies.length
}

/** Reads and checks every copy of a tensor. @throws CheckpointError that names the tensor */
export async function verifyTensor(store: Store, manifest: Manifest, name: string): Promise<void> {
  const { shape, copies } = manifest.tensors[name]!
  const room = new Float32Array(sizeOf(shape))
  for (const copy of copies) await readCopy(store, manifest, name, copy, room)
}

async function readCopy(
  store: Store,
  manifest: Manifest,
  name: string,
  { boxes, sha256 }: Copy,
  into: Float32Array,
): Promise<void> {
  const { shape } = manifest.tensors[name]!
  const fail = failure(manifest, name)
  for (const box of boxes) {
    const start = contiguousStart(shape, box)
    const length = sizeOf(box.size)
    const flat = start === null ? new Float32Array(length) : into.subarray(start, start + length)
    const file = `${stepFolder(manifest.step)}/${box.file}`
    try {
      await store.read(file, box.begin, bytesOf(flat))
    } catch (error) {
      if (error instanceof CheckpointError) throw fail(error.message)
      throw error
    }
    const found = await digestOf(flat)
    if (found !== box.sha256) {
      throw fail(
        `bytes ${box.begin} to ${box.end} of ${file} are damaged: their SHA-256 is ${found}`,
      )
    }
    if (start !== null) continue
    const whole = { offset: box.size.map(() => 0), size: box.size }
    copyBox({ flat, shape: box.size, box: whole }, { flat: into, shape, box })
  }
  // The hash of a single box that covers the tensor was checked already.
  if (boxes.length === 1 && boxes[0]!.sha256 === sha256) return
  if ((await digestOf(into)) !== sha256) throw fail('is not what was saved, put together')
}

function failure({ step }: Manifest, name: string) {
  return (reason: string) => new CheckpointError(`step ${step}: tensor ${name}: ${reason}`)
}
