/**
 * A store in a folder. A file is written under a temporary name, flushed, and renamed, which is atomic. Then the folder is
 * flushed, so that the name survives a power cut, too.
 */
import { type FileHandle, mkdir, open, readdir, rename, rm, rmdir, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { systemCode } from '../base/errors.ts'
import { CheckpointError } from './error.ts'
import type { Store, StoredFile } from './store.ts'

export class DirectoryStore implements Store {
  readonly location: string

  constructor(folder: string) {
    this.location = folder
  }

  async list(prefix: string): Promise<StoredFile[]> {
    const files: StoredFile[] = []
    const visit = async (folder: string) => {
      const entries = await absentAs([], () => readdir(this.#path(folder), { withFileTypes: true }))
      for (const entry of entries) {
        const name = folder === '' ? entry.name : `${folder}/${entry.name}`
        const within = `${name}/`.startsWith(prefix) || prefix.startsWith(`${name}/`)
        if (entry.isDirectory() && within) await visit(name)
        if (!entry.isFile() || !name.startsWith(prefix)) continue
        const found = await absentAs(null, () => stat(this.#path(name)))
        if (found !== null) files.push({ name, bytes: found.size })
      }
    }
    await visit('')
    return files
  }

  async read(name: string, offset: number, into: Uint8Array): Promise<void> {
    const file = await absentAs(null, () => open(this.#path(name), 'r'))
    if (file === null) throw new CheckpointError(`${name} is missing`)
    try {
      for (let done = 0; done < into.length; ) {
        const { bytesRead } = await file.read(into, done, into.length - done, offset + done)
        if (bytesRead === 0) throw new CheckpointError(`${name} ends at byte ${offset + done}`)
        done += bytesRead
      }
    } finally {
      await file.close()
    }
  }

  async write(name: string, content: readonly Uint8Array[]): Promise<void> {
    const path = this.#path(name)
    const folder = dirname(path)
    const created = await mkdir(folder, { recursive: true })
    const temporary = `${path}.${process.pid}.tmp`
    try {
      const file = await open(temporary, 'w')
      try {
        await writeAll(file, content)
        await file.sync()
      } finally {
        await file.close()
      }
      await rename(temporary, path)
    } finally {
      await rm(temporary, { force: true })
    }
    await syncFolder(folder)
    // The name of a new folder is an entry of its parent folder.
    if (created !== undefined) await syncFolder(dirname(folder))
  }

  async remove(name: string): Promise<void> {
    const path = this.#path(name)
    await rm(path, { force: true })
    // The folder is removed with its last file.
    await rmdir(dirname(path)).catch((error: unknown) => {
      if (!['ENOTEMPTY', 'EEXIST', 'ENOENT'].includes(systemCode(error) ?? '')) throw error
    })
  }

  #path(name: string): string {
    return join(this.location, ...name.split('/'))
  }
}

async function writeAll(file: FileHandle, content: readonly Uint8Array[]): Promise<void> {
  for (let rest = content; rest.length > 0; ) {
    const { bytesWritten } = await file.writev(rest)
    rest = after(rest, bytesWritten)
  }
}

/** The rest of `content` after its first `bytes` bytes. */
function after(content: readonly Uint8Array[], bytes: number): Uint8Array[] {
  let behind = bytes
  return content.flatMap((part) => {
    const left = part.subarray(behind)
    behind = Math.max(0, behind - part.length)
    return left.length > 0 ? [left] : []
  })
}

async function syncFolder(path: string): Promise<void> {
  // Windows cannot open folders, and needs no such flush.
  if (process.platform === 'win32') return
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

/** Gives `absent` if the file or folder does not exist. */
async function absentAs<T>(absent: T, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return absent
    throw error
  }
}
