/** Checks what `npm ci` runs and warns about (docs/ARCHITECTURE.md, "Install"). */
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

interface Lock {
  readonly packages: Readonly<Record<string, { readonly hasInstallScript?: boolean }>>
}

function read(name: string): string {
  return readFileSync(new URL(`../${name}`, import.meta.url), 'utf8')
}

test('npm runs the install script of the package node and of no other package', () => {
  const { packages } = JSON.parse(read('package-lock.json')) as Lock
  const { allowScripts } = JSON.parse(read('package.json'))
  const run = Object.keys(packages).filter((path) => packages[path]!.hasInstallScript)
  expect(run).toEqual(['node_modules/node'])
  expect(allowScripts).toEqual({ node: true, 'onnxruntime-node': false })
})

test('.npmrc sets only options that npm 11 knows', () => {
  const options = read('.npmrc').split('\n').filter(Boolean)
  expect(options).toEqual(['save-exact=true'])
})
