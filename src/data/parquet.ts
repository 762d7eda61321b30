/** Reads Parquet files with hyparquet, one row group at a time. */
import { type FileHandle, open } from 'node:fs/promises'
import { type FileMetaData, parquetMetadataAsync, parquetRead, parquetSchema } from 'hyparquet'
import { compressors } from 'hyparquet-compressors'
import { InputError } from '../base/errors.ts'
import { type Part, partsOf } from './cut.ts'

interface Options {
  readonly field: string
  readonly onChunk: (chunk: Uint8Array) => void
}

const CHUNK = 1 << 20

/** Rows that are read at once from a row group with an offset index. A group without an index is read as a whole. */
const ROWS = 1024

/**
 * Reads the documents of a file, one for each row, in parts.
 * @throws InputError if the file is not Parquet, is damaged, or has no text in the column
 */
export async function* readParquet(
  path: string,
  { field, onChunk }: Options,
): AsyncGenerator<Part> {
  const handle = await open(path)
  try {
    const { size } = await handle.stat()
    await digest(handle, onChunk)
    const file = {
      byteLength: size,
      slice: async (start: number, end = size) => {
        const bytes = new ArrayBuffer(end - start)
        await handle.read(new Uint8Array(bytes), 0, end - start, start)
        return bytes
      },
    }
    const metadata = await readable(path, () => parquetMetadataAsync(file))
    checkField(path, metadata, field)
    let row = 0
    for (const group of metadata.row_groups) {
      const groupEnd = row + Number(group.num_rows)
      const step = group.columns.every((column) => column.offset_index_offset)
        ? ROWS
        : groupEnd - row
      for (; row < groupEnd; row += step) {
        const rowEnd = Math.min(row + step, groupEnd)
        const rows = await readable(path, () =>
          rowsOf({ file, metadata, field, rowStart: row, rowEnd }),
        )
        for (const [index, text] of rows.entries()) {
          if (text === null || text === undefined || text === '') continue
          if (typeof text !== 'string') {
            throw new InputError(
              `${path}, row ${row + index}: the column ${field} contains no text. Name another by --field.`,
            )
          }
          yield* partsOf(text.toWellFormed())
        }
      }
      row = groupEnd
    }
  } finally {
    await handle.close()
  }
}

interface RowsOptions {
  readonly file: { byteLength: number; slice(start: number, end?: number): Promise<ArrayBuffer> }
  readonly metadata: FileMetaData
  readonly field: string
  readonly rowStart: number
  readonly rowEnd: number
}

function rowsOf({ field, ...options }: RowsOptions): Promise<unknown[]> {
  return new Promise((resolve, reject) => {
    parquetRead({
      ...options,
      columns: [field],
      compressors,
      // Reads only the pages with these rows, if the file has an offset index.
      useOffsetIndex: true,
      onComplete: (rows) => resolve(rows.map(([text]) => text)),
    }).catch(reject)
  })
}

async function digest(handle: FileHandle, onChunk: Options['onChunk']): Promise<void> {
  const buffer = Buffer.allocUnsafeSlow(CHUNK)
  for (let position = 0; ; ) {
    const { bytesRead } = await handle.read(buffer, 0, CHUNK, position)
    if (bytesRead === 0) return
    onChunk(buffer.subarray(0, bytesRead))
    position += bytesRead
  }
}

function checkField(path: string, metadata: FileMetaData, field: string): void {
  const columns = parquetSchema(metadata).children.map(({ element }) => element.name)
  if (columns.includes(field)) return
  throw new InputError(
    `${path} has no column ${field}; it has ${columns.join(', ')}. Name one by --field.`,
  )
}

async function readable<T>(path: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read()
  } catch (error) {
    throw new InputError(
      `${path} is not a Parquet file, or is damaged: ${(error as Error).message}`,
      {
        cause: error,
      },
    )
  }
}
