/** Writes planned files, and their tensors piece by piece. The folder or the file is either whole or absent. */
import { mkdir, open, rename, rm, stat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import type { Piece, PlannedFile } from '../../stages/formats/piece.ts'
import { InputError, systemCode } from '../base/errors.ts'
import { CHUNK_ELEMENTS, type TensorFiles } from './tensor-files.ts'

/**
 * Writes files into a new folder. Gives the number of bytes.
 * @throws InputError if `out` exists or cannot be written; then no file is left behind
 */
export async function writeFolder(
  out: string,
  files: readonly PlannedFile[],
  source: TensorFiles,
): Promise<number> {
  return await whole(out, async (temporary) => {
    await mkdir(temporary)
    let bytes = 0
    for (const { name, pieces } of files) {
      bytes += await writePieces(join(temporary, name), pieces, source)
    }
    return bytes
  })
}

/**
 * Writes one new file. Gives the number of bytes.
 * @throws InputError if `out` exists or cannot be written; then no file is left behind
 */
export async function writeFile(
  out: string,
  pieces: readonly Piece[],
  source: TensorFiles,
): Promise<number> {
  return await whole(out, (temporary) => writePieces(temporary, pieces, source))
}

async function whole<T>(out: string, write: (temporary: string) => Promise<T>): Promise<T> {
  const path = resolve(out)
  await refuseExisting(out)
  const temporary = `${path}.${process.pid}.tmp`
  try {
    await mkdir(dirname(path), { recursive: true })
    const result = await write(temporary)
    await rename(temporary, path)
    return result
  } catch (error) {
    const code = systemCode(error)
    if (error instanceof InputError || code === undefined) throw error
    throw new InputError(`--out ${out} cannot be written (${code}). Choose another path.`)
  } finally {
    await rm(temporary, { recursive: true, force: true })
  }
}

async function refuseExisting(out: string): Promise<void> {
  const there = await stat(out).catch(() => null)
  if (there !== null) {
    throw new InputError(`--out ${out} exists. Choose another path, or remove it.`)
  }
}

async function writePieces(
  path: string,
  pieces: readonly Piece[],
  source: TensorFiles,
): Promise<number> {
  const file = await open(path, 'wx')
  let bytes = 0
  try {
    for (const piece of pieces) {
      for await (const part of partsOf(piece, source)) {
        await file.writeFile(part)
        bytes += part.length
      }
    }
    await file.sync()
  } finally {
    await file.close()
  }
  return bytes
}

async function* partsOf(piece: Piece, source: TensorFiles): AsyncGenerator<Uint8Array> {
  if (piece instanceof Uint8Array) {
    yield piece
    return
  }
  const { tensor, elements, unit, encode } = piece
  const step = unit * Math.max(1, Math.floor(CHUNK_ELEMENTS / unit))
  for (let from = 0; from < elements; from += step) {
    yield encode(await source.read(tensor, from, Math.min(step, elements - from)))
  }
}
