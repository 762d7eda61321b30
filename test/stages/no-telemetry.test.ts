/** ONNX Runtime must not report to anyone. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'

/** What a process of its own leaves in an empty home after it has loaded a model, as `module` exports it. */
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
  // Once this is empty the library does no such thing any more, and no-telemetry.ts may go.
  expect(plain).not.toEqual([])
  const session = new URL('../../stages/session.ts', import.meta.url).href
  expect(leftBehind(session, 'library.guardWorks()')).toEqual([])
})
