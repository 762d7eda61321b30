/**
 * Small files that are either whole or absent, whatever kills the process: written to a temporary neighbour, flushed,
 * then given their name in one step. Synchronous, so that a claim can be given back while the process exits.
 */
import {
  closeSync,
  constants,
  copyFileSync,
  fsyncSync,
  linkSync,
  openSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { systemCode } from './errors.ts'

/** What `link` says on file systems without hard links: exFAT, Android, some network and cloud mounts. */
const NO_LINKS: ReadonlySet<string | undefined> = new Set([
  'EPERM',
  'EACCES',
  'ENOSYS',
  'ENOTSUP',
  'EOPNOTSUPP',
])

/** Gives `path` this content, in place of what it held. */
export function replaceFile(path: string, content: string | Uint8Array): void {
  withTemporary(path, content, (temporary) => renameSync(temporary, path))
  syncFolder(dirname(path))
}

/** Gives `path` this content unless it exists already: of several processes at once, exactly one gets `true`. */
export function createFile(path: string, text: string): boolean {
  const created = withTemporary(path, text, (temporary) => {
    try {
      // Unlike `rename`, a hard link never replaces what is there.
      linkSync(temporary, path)
      return true
    } catch (error) {
      if (systemCode(error) === 'EEXIST') return false
      if (!NO_LINKS.has(systemCode(error))) throw error
    }
    try {
      copyFileSync(temporary, path, constants.COPYFILE_EXCL)
      return true
    } catch (error) {
      if (systemCode(error) === 'EEXIST') return false
      throw error
    }
  })
  if (created) syncFolder(dirname(path))
  return created
}

function withTemporary<T>(
  path: string,
  content: string | Uint8Array,
  use: (temporary: string) => T,
): T {
  const temporary = `${path}.${process.pid}.tmp`
  try {
    const file = openSync(temporary, 'w')
    try {
      writeFileSync(file, content)
      fsyncSync(file)
    } finally {
      closeSync(file)
    }
    return use(temporary)
  } finally {
    rmSync(temporary, { force: true })
  }
}

/** A new name outlives a power cut only once its folder is flushed. */
function syncFolder(path: string): void {
  // Windows opens no folders, and needs no such flush.
  if (process.platform === 'win32') return
  const folder = openSync(path, 'r')
  try {
    fsyncSync(folder)
  } finally {
    closeSync(folder)
  }
}
