/** The TypeScript files of a checkout, read and parsed for the tests and counts of this folder. */
import { readdirSync, readFileSync } from 'node:fs'
import { join, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

/** This checkout. */
export const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** Folders that hold no source of the project, at any depth. */
const SKIPPED: ReadonlySet<string> = new Set(['node_modules', 'dist', 'golden', 'shared'])

/** Paths under `folder`, relative to `root` with `/` between names, of files that end in `extension`. */
export function filesUnder(root: string, folder: string, extension: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true })
    .filter(({ name }) => !name.startsWith('.') && !SKIPPED.has(name))
    .flatMap((entry) => {
      const path = join(folder, entry.name)
      if (entry.isDirectory()) return filesUnder(root, path, extension)
      return entry.name.endsWith(extension) ? [path.split(sep).join('/')] : []
    })
    .sort()
}

export function readSource(root: string, path: string): string {
  return readFileSync(join(root, path), 'utf8')
}

export function parseSource(root: string, path: string): ts.SourceFile {
  return ts.createSourceFile(path, readSource(root, path), ts.ScriptTarget.Latest, true)
}

/** Paths, relative to `root`, of the project's files that the file imports: statically, as types only or when it is called. */
export function importsOf(root: string, path: string): string[] {
  const { importedFiles } = ts.preProcessFile(readSource(root, path), true, true)
  return importedFiles
    .map(({ fileName }) => fileName)
    .filter((name) => name.startsWith('.'))
    .map((name) =>
      relative(root, join(root, path, '..', name))
        .split(sep)
        .join('/'),
    )
}
