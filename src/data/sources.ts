/** The sources of documents: the table of file formats, and the search for files by a path, a folder or a pattern. */
import { createHash } from 'node:crypto'
import { globSync, readdirSync, statSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { basename, extname, join, relative, sep } from 'node:path'
import { InputError, systemCode } from '../base/errors.ts'
import { type Part, partsOf } from './cut.ts'
import { readParquet } from './parquet.ts'
import { textParts, utf8Of } from './text-parts.ts'

/** Options for reading documents. */
export interface ReadOptions {
  /** Field of JSON Lines, or column of Parquet, with the text. */
  readonly field: string
  /** True to read text files as bytes, in any encoding; false to decode them as UTF-8. */
  readonly bytes: boolean
  /** Called with every chunk of the file, for its digest. */
  readonly onChunk: (chunk: Uint8Array) => void
}

/** Reads a file: each row is a document; a text file is one document. */
type Reader = (path: string, options: ReadOptions) => AsyncIterable<Part>

const FORMATS: Readonly<Record<string, Reader>> = {
  '.jsonl': readJsonLines,
  '.ndjson': readJsonLines,
  '.parquet': readParquet,
}

/** File name extensions that are searched for in a folder. Any other file that is named itself is read as text. */
const IN_FOLDERS = new Set([...Object.keys(FORMATS), '.txt', '.text', '.md'])

const CHUNK = 256 * 1024
/** Longest line of JSON Lines, in bytes. A file with a longer line is not JSON Lines. */
const LONGEST_LINE = 64 << 20
const NEWLINE = 0x0a

interface SourceFile {
  readonly path: string
  /** Path relative to the source, with slashes. It does not depend on the folder of the source. */
  readonly name: string
  readonly bytes: number
}

/** A source that the user named, and its files in the order of their names. */
export interface Source {
  readonly name: string
  readonly files: readonly SourceFile[]
}

/**
 * Finds the files of a source. Empty files are left out.
 * @param pattern a file, a folder, or a glob pattern
 * @throws InputError if there is no file, or all files are empty
 */
export function findSource(pattern: string): Source {
  const found = filesOf(pattern)
  const files = found
    .map(({ path, name }) => ({ path, name, bytes: statSync(path).size }))
    .filter(({ bytes }) => bytes > 0)
    .sort((a, b) => (a.name < b.name ? -1 : 1))
  if (files.length > 0) return { name: basename(pattern), files }
  throw new InputError(
    found.length === 1
      ? `The data file ${pattern} is empty: put a text into it.`
      : found.length > 1
        ? `${pattern}: all ${found.length} files are empty.`
        : `${pattern} names no ${[...IN_FOLDERS].join(', ')} file: name a file, a folder or a pattern such as 'texts/*.txt'.`,
  )
}

function filesOf(pattern: string): { path: string; name: string }[] {
  const named = (path: string, root: string) => ({
    path,
    name: relative(root, path).split(sep).join('/'),
  })
  try {
    if (!statSync(pattern).isDirectory()) return [{ path: pattern, name: basename(pattern) }]
    return (
      readdirSync(pattern, { recursive: true, withFileTypes: true })
        .filter(
          (entry) => !entry.isDirectory() && IN_FOLDERS.has(extname(entry.name).toLowerCase()),
        )
        .map((entry) => join(entry.parentPath, entry.name))
        // Links are followed, since downloads are often stored as links.
        .filter((path) => statSync(path, { throwIfNoEntry: false })?.isFile() === true)
        .map((path) => named(path, pattern))
    )
  } catch (error) {
    const code = systemCode(error)
    if (code === undefined) throw error
    if (code === 'ENOENT' && /[*?[{]/.test(pattern)) {
      return globSync(pattern)
        .filter((path) => statSync(path).isFile())
        .map((path) => named(path, '.'))
    }
    const what = code === 'ENOENT' ? 'does not exist' : `cannot be read (${code})`
    throw new InputError(
      `The data file ${pattern} ${what}. Put it there, or name another file by --data.`,
    )
  }
}

/** Reads the documents of a file, in parts and in order. Memory contains one part, one line or one row group at a time. */
export function readDocuments(path: string, options: ReadOptions): AsyncIterable<Part> {
  return (FORMATS[extname(path).toLowerCase()] ?? readText)(path, options)
}

/** Tells whether a path is a plain text file, which a run can train on in bytes without preparation. */
export function isPlainText(path: string): boolean {
  return (
    FORMATS[extname(path).toLowerCase()] === undefined &&
    statSync(path, { throwIfNoEntry: false })?.isFile() === true
  )
}

async function* chunksOf(
  path: string,
  onChunk: ReadOptions['onChunk'],
): AsyncGenerator<Uint8Array> {
  const file = await open(path)
  try {
    for (;;) {
      // A new buffer for each chunk, since parts of a chunk are used after the next one is read.
      const { bytesRead, buffer } = await file.read(Buffer.allocUnsafeSlow(CHUNK), 0, CHUNK)
      if (bytesRead === 0) return
      const chunk = buffer.subarray(0, bytesRead)
      onChunk(chunk)
      yield chunk
    }
  } finally {
    await file.close()
  }
}

function readText(path: string, { bytes, onChunk }: ReadOptions): AsyncGenerator<Part> {
  return textParts(chunksOf(path, onChunk), path, bytes)
}

async function* readJsonLines(path: string, { field, onChunk }: ReadOptions): AsyncGenerator<Part> {
  const decode = utf8Of(path)
  let rest: Uint8Array = new Uint8Array()
  let line = 0
  const document = (bytes: Uint8Array): Iterable<Part> => {
    line++
    const text = decode(bytes, false)
    return text.trim() === '' ? [] : partsOf(textIn(text, field, `${path}, line ${line}`))
  }
  for await (const chunk of chunksOf(path, onChunk)) {
    const bytes: Uint8Array = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    let from = 0
    // The rest of the chunk before contains no end of line.
    for (
      let end = bytes.indexOf(NEWLINE, rest.length);
      end >= 0;
      end = bytes.indexOf(NEWLINE, from)
    ) {
      yield* document(bytes.subarray(from, end))
      from = end + 1
    }
    rest = bytes.subarray(from)
    if (rest.length > LONGEST_LINE) {
      throw new InputError(
        `${path}, line ${line + 1} is longer than ${LONGEST_LINE} bytes: this is not JSON Lines. Cut the line, or rename the file to .txt.`,
      )
    }
  }
  if (rest.length > 0) yield* document(rest)
}

/** Text of a row of JSON Lines. @throws InputError if the row has no text */
function textIn(line: string, field: string, where: string): string {
  let row: unknown
  try {
    row = JSON.parse(line)
  } catch (error) {
    throw new InputError(`${where} is not JSON: ${(error as Error).message}`)
  }
  const text = typeof row === 'string' ? row : (row as Record<string, unknown> | null)?.[field]
  // A lone surrogate cannot be encoded as UTF-8.
  if (typeof text === 'string') return text.toWellFormed()
  const names = typeof row === 'object' && row !== null ? Object.keys(row).join(', ') : typeof row
  throw new InputError(
    `${where} has no text in the field ${field}; it has ${names}. Name the field by --field.`,
  )
}

/** Computes the SHA-256 of a file while it is read, with the parts that a reader skips. */
export function fileDigest() {
  const hash = createHash('sha256')
  return { add: (chunk: Uint8Array) => void hash.update(chunk), hex: () => hash.digest('hex') }
}
