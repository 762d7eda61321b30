/** Tensors in safetensors files. Headers are read when the files are opened, tensors only in the parts that are needed. */
import { createHash } from 'node:crypto'
import { type FileHandle, open } from 'node:fs/promises'
import { FLOAT_OF_HALF } from '../../stages/float16.ts'
import {
  headerLength,
  LENGTH_BYTES,
  readHeader,
  SafetensorsError,
  type TensorDtype,
} from '../../stages/safetensors.ts'
import { sameShape } from '../../stages/shape.ts'
import { InputError, systemCode } from '../base/errors.ts'

/** Number of elements that are read at once when a whole tensor is read. */
export const CHUNK_ELEMENTS = 1 << 20

/** Size of an element in bytes, and its decoder to float32, for each dtype that weights can have. */
const WEIGHTS: Partial<
  Record<TensorDtype, { bytes: number; decode: (raw: ArrayBuffer) => Floats }>
> = {
  F32: { bytes: 4, decode: (raw) => new Float32Array(raw) },
  F16: { bytes: 2, decode: (raw) => fromBits(raw, (bits) => FLOAT_OF_HALF[bits]!) },
  BF16: { bytes: 2, decode: (raw) => fromBits(raw, (bits) => bits << 16) },
}

type Floats = Float32Array<ArrayBuffer>

function fromBits(raw: ArrayBuffer, widen: (bits: number) => number): Floats {
  const halves = new Uint16Array(raw)
  const floats = new Float32Array(halves.length)
  const bits = new Uint32Array(floats.buffer)
  for (let i = 0; i < bits.length; i++) bits[i] = widen(halves[i]!)
  return floats
}

/** A tensor in a file. */
export interface StoredTensor {
  readonly path: string
  readonly dtype: TensorDtype
  readonly shape: readonly number[]
  /** Offset from the start of the file, in bytes. */
  readonly offset: number
  readonly bytes: number
}

/** The tensors of several open files. */
export class TensorFiles {
  readonly tensors: ReadonlyMap<string, StoredTensor>
  readonly #handles: ReadonlyMap<string, FileHandle>

  private constructor(
    tensors: ReadonlyMap<string, StoredTensor>,
    handles: ReadonlyMap<string, FileHandle>,
  ) {
    this.tensors = tensors
    this.#handles = handles
  }

  /** Opens files. @throws InputError that names the damaged file, or a tensor that two files contain */
  static async open(paths: readonly string[]): Promise<TensorFiles> {
    const tensors = new Map<string, StoredTensor>()
    const handles = new Map<string, FileHandle>()
    try {
      for (const path of paths) {
        const { handle, start, header } = await openOne(path)
        handles.set(path, handle)
        for (const [name, { dtype, shape, begin, end }] of header.entries) {
          const other = tensors.get(name)
          if (other !== undefined) {
            throw new InputError(`${path}: ${other.path} contains tensor ${name}, too.`)
          }
          tensors.set(name, { path, dtype, shape, offset: start + begin, bytes: end - begin })
        }
      }
    } catch (error) {
      for (const handle of handles.values()) await handle.close()
      throw error
    }
    return new TensorFiles(tensors, handles)
  }

  /** Reads elements `from` to `from + count` of a tensor. @throws InputError for a dtype that weights cannot have */
  async read(name: string, from: number, count: number): Promise<Floats> {
    const { dtype } = this.#tensor(name)
    const weights = WEIGHTS[dtype]
    if (weights === undefined) {
      const known = Object.keys(WEIGHTS).join(', ')
      throw new InputError(`tensor ${name} has dtype ${dtype}; weights have ${known}.`)
    }
    const { bytes, decode } = weights
    // A new buffer is aligned for the decoder.
    const raw = new ArrayBuffer(count * bytes)
    await this.#readBytes(name, from * bytes, Buffer.from(raw))
    return decode(raw)
  }

  /** Reads a whole tensor into `into`. */
  async readInto(name: string, into: Float32Array): Promise<void> {
    for (let from = 0; from < into.length; from += CHUNK_ELEMENTS) {
      const count = Math.min(CHUNK_ELEMENTS, into.length - from)
      into.set(await this.read(name, from, count), from)
    }
  }

  /** SHA-256 of a tensor's dtype, shape and bytes, in hex. */
  async digest(name: string): Promise<string> {
    const { dtype, shape, bytes } = this.#tensor(name)
    const hash = createHash('sha256').update(`${dtype}[${shape}]`)
    for (let at = 0; at < bytes; at += CHUNK_BYTES) {
      hash.update(await this.#readBytes(name, at, Buffer.alloc(Math.min(CHUNK_BYTES, bytes - at))))
    }
    return hash.digest('hex')
  }

  async close(): Promise<void> {
    for (const handle of this.#handles.values()) await handle.close()
  }

  #tensor(name: string): StoredTensor {
    const tensor = this.tensors.get(name)
    if (tensor === undefined) throw new Error(`there is no tensor ${name}`)
    return tensor
  }

  async #readBytes(name: string, begin: number, into: Buffer): Promise<Buffer> {
    const { path, offset } = this.#tensor(name)
    return await readExactly(path, this.#handles.get(path)!, into, offset + begin)
  }
}

const CHUNK_BYTES = 4 * CHUNK_ELEMENTS

/** Opens a file and reads its header. @throws InputError if the file is damaged; then it is closed */
async function openOne(path: string) {
  const handle = await openFile(path)
  try {
    const { size } = await handle.stat()
    const prefix = await readExactly(path, handle, Buffer.alloc(Math.min(size, LENGTH_BYTES)), 0)
    const start = LENGTH_BYTES + headerLength(prefix, size)
    const bytes = Buffer.alloc(start - LENGTH_BYTES)
    await readExactly(path, handle, bytes, LENGTH_BYTES)
    return { handle, start, header: readHeader(bytes, size - start) }
  } catch (error) {
    await handle.close()
    if (!(error instanceof SafetensorsError)) throw error
    throw new InputError(
      `${path} is not an intact safetensors file: ${error.message}. Copy or export it again.`,
    )
  }
}

/** Reads the metadata of a file without its tensors. @throws InputError if the file is damaged */
export async function metadataOf(path: string): Promise<Readonly<Record<string, string>>> {
  const { handle, header } = await openOne(path)
  await handle.close()
  return header.metadata
}

async function openFile(path: string): Promise<FileHandle> {
  try {
    return await open(path)
  } catch (error) {
    const code = systemCode(error)
    const what = code === 'ENOENT' ? 'does not exist' : `cannot be read (${code})`
    throw new InputError(`${path} ${what}.`)
  }
}

async function readExactly(path: string, handle: FileHandle, into: Buffer, position: number) {
  let done = 0
  while (done < into.length) {
    const { bytesRead } = await handle.read(into, done, into.length - done, position + done)
    if (bytesRead === 0) throw new InputError(`${path} became shorter while it was read.`)
    done += bytesRead
  }
  return into
}

/**
 * Checks that the files contain exactly the tensors of a model.
 * @param expected shapes of the model's tensors, by name
 * @param mayIgnore tells whether an unexpected tensor is allowed
 * @throws InputError that names the first tensor that is missing, has another shape or dtype, or is not expected
 */
export function checkTensors(
  where: string,
  files: TensorFiles,
  expected: ReadonlyMap<string, readonly number[]>,
  mayIgnore: (name: string) => boolean = () => false,
): void {
  for (const [name, shape] of expected) {
    const stored = files.tensors.get(name)
    if (stored === undefined) {
      throw new InputError(`${where}: tensor ${name} is missing; the model needs it as [${shape}].`)
    }
    if (!sameShape(stored.shape, shape)) {
      throw new InputError(
        `${stored.path}: tensor ${name} is [${stored.shape}], the model needs [${shape}].`,
      )
    }
    if (WEIGHTS[stored.dtype] === undefined) {
      throw new InputError(
        `${stored.path}: tensor ${name} has dtype ${stored.dtype}, which weights cannot have.`,
      )
    }
  }
  for (const [name, { path }] of files.tensors) {
    if (expected.has(name) || mayIgnore(name)) continue
    throw new InputError(
      `${path}: tensor ${name} does not belong to the Llama that config.json describes.`,
    )
  }
}
