/** Reads and writes safetensors, the file format of Hugging Face's weights. */

/** How each dtype is held in memory. F16 stays raw: its bits, as 16-bit integers. */
const ARRAYS = {
  F64: Float64Array,
  I64: BigInt64Array,
  F32: Float32Array,
  I32: Int32Array,
  F16: Uint16Array,
} as const

type TensorDtype = keyof typeof ARRAYS

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

/** Bytes that are no safetensors file, or not one that we read; names the tensor at fault. */
export class SafetensorsError extends Error {
  override readonly name = 'SafetensorsError'
}

/** The file begins with the length of its header, a little-endian 64-bit integer. */
const LENGTH_BYTES = 8

/** The reference implementation's limit. */
const HEADER_BYTES_MAX = 100_000_000

/** Tensors are views of `bytes` where their alignment allows it, copies elsewhere. */
export function readSafetensors(bytes: Uint8Array): Safetensors {
  const { header, body } = split(bytes)
  const tensors = new Map<string, NamedTensor>()
  let metadata: Record<string, string> = {}
  const extents: Extent[] = []
  for (const [name, entry] of Object.entries(header)) {
    if (name === '__metadata__') {
      metadata = stringsOf(entry)
      continue
    }
    const { dtype, shape, begin, end } = describe(name, entry, body.length)
    tensors.set(name, { dtype, shape, data: view(body.subarray(begin, end), dtype) } as NamedTensor)
    extents.push({ name, begin, end })
  }
  refuseGaps(extents, body.length)
  return { tensors, metadata }
}

/** Wide elements first, so that every tensor is aligned. */
export function writeSafetensors({ tensors, metadata }: Safetensors): Uint8Array<ArrayBuffer> {
  const ordered = [...tensors].sort(([, a], [, b]) => widthOf(b.dtype) - widthOf(a.dtype))
  const header: Record<string, unknown> = { __metadata__: metadata }
  let end = 0
  for (const [name, { dtype, shape, data }] of ordered) {
    const begin = end
    end += data.byteLength
    header[name] = { dtype, shape, data_offsets: [begin, end] }
  }
  const text = JSON.stringify(header)
  const encoded = new TextEncoder().encode(text)
  const headerLength = Math.ceil(encoded.length / LENGTH_BYTES) * LENGTH_BYTES
  const bytes = new Uint8Array(LENGTH_BYTES + headerLength + end)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(headerLength), true)
  bytes.fill(' '.charCodeAt(0), LENGTH_BYTES, LENGTH_BYTES + headerLength)
  bytes.set(encoded, LENGTH_BYTES)
  let offset = LENGTH_BYTES + headerLength
  for (const [, { data }] of ordered) {
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), offset)
    offset += data.byteLength
  }
  return bytes
}

function split(bytes: Uint8Array): { header: object; body: Uint8Array } {
  if (bytes.length < LENGTH_BYTES) throw new SafetensorsError(`only ${bytes.length} bytes`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const length = view.getBigUint64(0, true)
  if (length > HEADER_BYTES_MAX || LENGTH_BYTES + Number(length) > bytes.length) {
    throw new SafetensorsError(`a header of ${length} bytes in a file of ${bytes.length}`)
  }
  const start = LENGTH_BYTES + Number(length)
  return { header: parseHeader(bytes.subarray(LENGTH_BYTES, start)), body: bytes.subarray(start) }
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

interface Extent {
  readonly name: string
  readonly begin: number
  readonly end: number
}

function describe(name: string, entry: unknown, bodyLength: number) {
  const fail = (reason: string) => new SafetensorsError(`tensor ${name}: ${reason}`)
  if (!isObject(entry)) throw fail('its entry is not an object')
  const { dtype, shape, data_offsets: offsets } = entry as Record<string, unknown>
  if (!isDtype(dtype)) throw fail(`dtype ${dtype} is not one of ${Object.keys(ARRAYS).join(', ')}`)
  if (!isCounts(shape)) throw fail(`shape ${JSON.stringify(shape)} is not a list of sizes`)
  if (!isCounts(offsets) || offsets.length !== 2) {
    throw fail(`data_offsets ${JSON.stringify(offsets)} are not two positions`)
  }
  const [begin, end] = offsets as [number, number]
  const length = shape.reduce((size, dimension) => size * dimension, widthOf(dtype))
  if (end - begin !== length) throw fail(`${end - begin} bytes for ${dtype} [${shape}]`)
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

function view(bytes: Uint8Array, dtype: TensorDtype): NamedTensor['data'] {
  const aligned = bytes.byteOffset % widthOf(dtype) === 0 ? bytes : bytes.slice()
  const { buffer, byteOffset, byteLength } = aligned
  return new ARRAYS[dtype](buffer as ArrayBuffer, byteOffset, byteLength / widthOf(dtype))
}

/** Every byte belongs to one tensor: what overlaps or is left over hides something. */
function refuseGaps(extents: readonly Extent[], bodyLength: number): void {
  let position = 0
  for (const { name, begin, end } of extents.toSorted(
    (a, b) => a.begin - b.begin || a.end - b.end,
  )) {
    if (begin !== position) {
      throw new SafetensorsError(`tensor ${name}: starts at byte ${begin}, expected ${position}`)
    }
    position = end
  }
  if (position !== bodyLength) {
    throw new SafetensorsError(`${bodyLength - position} bytes after the last tensor`)
  }
}
