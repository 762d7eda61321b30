/** Reads and writes safetensors, the file format of Hugging Face's weights. */

/** Array types of the dtypes in memory. F16 and BF16 are kept as their bits, in 16-bit integers. */
const ARRAYS = {
  F64: Float64Array,
  I64: BigInt64Array,
  F32: Float32Array,
  I32: Int32Array,
  F16: Uint16Array,
  BF16: Uint16Array,
} as const

export type TensorDtype = keyof typeof ARRAYS

export type NamedTensor = {
  readonly [D in TensorDtype]: {
    readonly dtype: D
    readonly shape: readonly number[]
    readonly data: InstanceType<(typeof ARRAYS)[D]>
  }
}[TensorDtype]

export interface Safetensors {
  readonly tensors: ReadonlyMap<string, NamedTensor>
  readonly metadata: Readonly<Record<string, string>>
}

/** Error for bytes that are no supported safetensors file. The message names the wrong tensor. */
export class SafetensorsError extends Error {
  override readonly name = 'SafetensorsError'
}

/** Bytes of the length of the header, a little-endian 64-bit integer at the start of a file. */
export const LENGTH_BYTES = 8

/** Limit of the reference implementation. */
const HEADER_BYTES_MAX = 100_000_000

/** Place of a tensor in the bytes after the header. */
export interface TensorEntry {
  readonly dtype: TensorDtype
  readonly shape: readonly number[]
  readonly begin: number
  readonly end: number
}

export interface SafetensorsHeader {
  readonly entries: ReadonlyMap<string, TensorEntry>
  readonly metadata: Readonly<Record<string, string>>
}

/** Reads a file. Aligned tensors are views of `bytes`, others are copies. @throws SafetensorsError */
export function readSafetensors(bytes: Uint8Array): Safetensors {
  const start = LENGTH_BYTES + headerLength(bytes, bytes.length)
  const body = bytes.subarray(start)
  const { entries, metadata } = readHeader(bytes.subarray(LENGTH_BYTES, start), body.length)
  const tensors = new Map<string, NamedTensor>()
  for (const [name, { dtype, shape, begin, end }] of entries) {
    tensors.set(name, { dtype, shape, data: view(body.subarray(begin, end), dtype) } as NamedTensor)
  }
  return { tensors, metadata }
}

/** Writes a file with wide elements first, so that every tensor is aligned. */
export function writeSafetensors({ tensors, metadata }: Safetensors): Uint8Array<ArrayBuffer> {
  const ordered = [...tensors].sort(([, a], [, b]) => widthOf(b.dtype) - widthOf(a.dtype))
  const header = encodeHeader(ordered, metadata)
  const length = ordered.reduce((sum, [, { data }]) => sum + data.byteLength, header.length)
  const bytes = new Uint8Array(length)
  bytes.set(header)
  let offset = header.length
  for (const [, { data }] of ordered) {
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), offset)
    offset += data.byteLength
  }
  return bytes
}

/**
 * Bytes before the tensors of a file, for a file that is written in pieces.
 * @param tensors in the order in which their bytes follow, without gaps
 */
export function encodeHeader(
  tensors: readonly (readonly [string, Pick<TensorEntry, 'dtype' | 'shape'>])[],
  metadata: Readonly<Record<string, string>>,
): Uint8Array {
  const header: Record<string, unknown> = { __metadata__: metadata }
  let end = 0
  for (const [name, { dtype, shape }] of tensors) {
    const begin = end
    end += lengthOf(dtype, shape)
    header[name] = { dtype, shape, data_offsets: [begin, end] }
  }
  const encoded = new TextEncoder().encode(JSON.stringify(header))
  const headerLength = Math.ceil(encoded.length / LENGTH_BYTES) * LENGTH_BYTES
  const bytes = new Uint8Array(LENGTH_BYTES + headerLength).fill(' '.charCodeAt(0))
  new DataView(bytes.buffer).setBigUint64(0, BigInt(headerLength), true)
  bytes.set(encoded, LENGTH_BYTES)
  return bytes
}

/**
 * Length of the header in bytes. @throws SafetensorsError if the file is too short for it
 * @param bytes the first {@link LENGTH_BYTES} of the file, or more
 */
export function headerLength(bytes: Uint8Array, fileLength: number): number {
  if (bytes.length < LENGTH_BYTES) throw new SafetensorsError(`only ${bytes.length} bytes`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const length = view.getBigUint64(0, true)
  if (length > HEADER_BYTES_MAX || LENGTH_BYTES + Number(length) > fileLength) {
    throw new SafetensorsError(`a header of ${length} bytes in a file of ${fileLength}`)
  }
  return Number(length)
}

/** @param bodyLength length of the bytes after the header, which the tensors must fill */
export function readHeader(bytes: Uint8Array, bodyLength: number): SafetensorsHeader {
  const entries = new Map<string, TensorEntry>()
  let metadata: Record<string, string> = {}
  for (const [name, entry] of Object.entries(parseHeader(bytes))) {
    if (name === '__metadata__') metadata = stringsOf(entry)
    else entries.set(name, describe(name, entry, bodyLength))
  }
  refuseGaps(entries, bodyLength)
  return { entries, metadata }
}

function parseHeader(bytes: Uint8Array): object {
  let header: unknown
  try {
    header = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (cause) {
    throw new SafetensorsError('the header is not JSON', { cause })
  }
  if (!isObject(header)) throw new SafetensorsError('the header is not a JSON object')
  return header
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function stringsOf(entry: unknown): Record<string, string> {
  if (!isObject(entry) || Object.values(entry).some((value) => typeof value !== 'string')) {
    throw new SafetensorsError('__metadata__ is not a map of strings')
  }
  return entry as Record<string, string>
}

function describe(name: string, entry: unknown, bodyLength: number): TensorEntry {
  const fail = (reason: string) => new SafetensorsError(`tensor ${name}: ${reason}`)
  if (!isObject(entry)) throw fail('its entry is not an object')
  const { dtype, shape, data_offsets: offsets } = entry as Record<string, unknown>
  if (!isDtype(dtype)) throw fail(`dtype ${dtype} is not one of ${Object.keys(ARRAYS).join(', ')}`)
  if (!isCounts(shape)) throw fail(`shape ${JSON.stringify(shape)} is not a list of sizes`)
  if (!isCounts(offsets) || offsets.length !== 2) {
    throw fail(`data_offsets ${JSON.stringify(offsets)} are not two positions`)
  }
  const [begin, end] = offsets as [number, number]
  if (end - begin !== lengthOf(dtype, shape))
    throw fail(`${end - begin} bytes for ${dtype} [${shape}]`)
  if (end > bodyLength) throw fail(`ends at byte ${end} of ${bodyLength}`)
  return { dtype, shape, begin, end }
}

function isDtype(value: unknown): value is TensorDtype {
  return typeof value === 'string' && Object.hasOwn(ARRAYS, value)
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0)
}

function widthOf(dtype: TensorDtype): number {
  return ARRAYS[dtype].BYTES_PER_ELEMENT
}

function lengthOf(dtype: TensorDtype, shape: readonly number[]): number {
  return shape.reduce((size, dimension) => size * dimension, widthOf(dtype))
}

function view(bytes: Uint8Array, dtype: TensorDtype): NamedTensor['data'] {
  const aligned = bytes.byteOffset % widthOf(dtype) === 0 ? bytes : bytes.slice()
  const { buffer, byteOffset, byteLength } = aligned
  return new ARRAYS[dtype](buffer as ArrayBuffer, byteOffset, byteLength / widthOf(dtype))
}

/** @throws SafetensorsError if a byte after the header belongs to no tensor or to two */
function refuseGaps(entries: ReadonlyMap<string, TensorEntry>, bodyLength: number): void {
  let position = 0
  const ordered = [...entries].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end)
  for (const [name, { begin, end }] of ordered) {
    if (begin !== position) {
      throw new SafetensorsError(`tensor ${name}: starts at byte ${begin}, expected ${position}`)
    }
    position = end
  }
  if (position !== bodyLength) {
    throw new SafetensorsError(`${bodyLength - position} bytes after the last tensor`)
  }
}
