/** ONNX Runtime sends no telemetry. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'

/** Files in an empty home folder after a process has loaded a model with `module`. */
function leftBehind(module: string, use: string): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'telemetry-'))
  const code = `const library = await import(${JSON.stringify(module)}); await ${use}`
  try {
    const env = { TMPDIR: folder, HOME: folder }
    execFileSync(process.execPath, ['--input-type=module', '--eval', code], { env })
    return readdirSync(folder)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

it('leaves no device id, no database and no log of its telemetry', () => {
  const plain = leftBehind(
    import.meta.resolve('onnxruntime-node'),
    'library.InferenceSession.create(new Uint8Array(1)).catch(() => {})',
  )
  // If this is empty, the library has no telemetry any more, and no-telemetry.ts can be removed.
  expect(plain).not.toEqual([])
  const session = new URL('../../stages/session.ts', import.meta.url).href
  expect(leftBehind(session, 'library.guardWorks()')).toEqual([])
})
