/**
 * Writes small files so that a file is either whole or absent, even if the process is killed. The content goes to a
 * temporary file in the same folder, is flushed, and gets its final name in one step. All calls are synchronous, so
 * that a lock can be released while the process exits.
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

/** Error codes of `link` on file systems without hard links: exFAT, Android, some network and cloud mounts. */
const NO_LINKS: ReadonlySet<string | undefined> = new Set([
  'EPERM',
  'EACCES',
  'ENOSYS',
  'ENOTSUP',
  'EOPNOTSUPP',
])

export interface FileOptions {
  /** Permissions of the file. @default 0o666, less the umask of the process */
  readonly mode?: number
}

/** Writes `content` to `path` and replaces a file that is there. */
export function replaceFile(
  path: string,
  content: string | Uint8Array,
  options: FileOptions = {},
): void {
  withTemporary(path, content, options, (temporary) => renameSync(temporary, path))
  syncFolder(dirname(path))
}

/**
 * Writes `text` to `path` unless the file exists. If several processes call it at once, exactly one gets `true`.
 */
export function createFile(path: string, text: string, options: FileOptions = {}): boolean {
  const created = withTemporary(path, text, options, (temporary) => {
    try {
      // Unlike `rename`, `link` never replaces an existing file.
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
  { mode }: FileOptions,
  use: (temporary: string) => T,
): T {
  const temporary = `${path}.${process.pid}.tmp`
  try {
    const file = openSync(temporary, 'w', mode)
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

/** Flushes a folder. A new file name survives a power cut only after its folder is flushed. */
function syncFolder(path: string): void {
  // Windows cannot open folders, and does not need this flush.
  if (process.platform === 'win32') return
  const folder = openSync(path, 'r')
  try {
    fsyncSync(folder)
  } finally {
    closeSync(folder)
  }
}
