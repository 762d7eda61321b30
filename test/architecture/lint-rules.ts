/** Asks the linter which imports among folders it refuses, by planting one file of imports in each folder. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { ROOT } from './sources.ts'

const BIOME = join(ROOT, 'node_modules/.bin/biome')

/**
 * Pairs `FROM -> TO` of the folders that the lint rules of this checkout refuse.
 * @param folder an empty one, for the planted files
 * @param folders such as `src/base` and `stages`
 */
export function refusedImports(folder: string, folders: readonly string[]): Set<string> {
  const { vcs, $schema, ...config } = JSON.parse(readFileSync(join(ROOT, 'biome.json'), 'utf8'))
  writeFileSync(join(folder, 'biome.json'), JSON.stringify(config))
  for (const from of folders) {
    const lines = folders.map((to) => `import '${relative(from, `${to}/planted.ts`)}'\n`)
    mkdirSync(join(folder, from), { recursive: true })
    writeFileSync(join(folder, from, 'planted.ts'), lines.join(''))
  }
  return new Set(
    lint(folder).map(({ location }) => {
      const from = location.path.replace('/planted.ts', '')
      return `${from} -> ${folders[location.start.line - 1]}`
    }),
  )
}

interface Diagnostic {
  readonly location: { readonly path: string; readonly start: { readonly line: number } }
}

function lint(folder: string): Diagnostic[] {
  const flags = ['--reporter=json', '--max-diagnostics=none', '--only=style/noRestrictedImports']
  const { stdout } = spawnSync(BIOME, ['lint', ...flags, '.'], { cwd: folder, encoding: 'utf8' })
  return JSON.parse(stdout).diagnostics
}
