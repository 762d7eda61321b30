/** A small demo: real processes, a real SIGKILL, and no process left behind. */
import { execFile } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test, vi } from 'vitest'
import type { DemoReport } from '../../src/cli/demo-report.ts'
import { cli, TINY, workFolder } from '../fixtures/cli.ts'

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url))

/** A demo of two processes that does not end by itself. */
const ENDLESS = [
  ...['demo', '--stages', '1', '--layers', '1', '--steps', '100000', '--no-kill', '--spares', '0'],
  ...TINY,
]

function reportIn(folder: string): DemoReport {
  return JSON.parse(readFileSync(join(folder, 'demo-report.json'), 'utf8'))
}

test('the demo kills a holder, the spare rebuilds the stage, and the report describes it', async () => {
  const folder = workFolder()
  const sizes = ['--stages', '3', '--layers', '3', '--steps', '12', '--kill-step', '5']
  const { code, stdout } = await cli(['demo', ...sizes, ...TINY, '--evaluate-every', '4'], folder)
  expect(stdout).toMatch(/rebuilt by .*checkfree from stages 1 and 3/)
  expect(code).toBe(0)

  const report = reportIn(folder)
  expect(new Set(report.processes.map(({ pid }) => pid)).size).toBe(5)
  expect(report.processes.map(({ exit }) => exit).toSorted()).toEqual([0, 0, 0, 0, 'SIGKILL'])
  expect(report.kills).toMatchObject([{ signal: 'SIGKILL', stage: 2, step: 5 }])
  // No disk of a living peer has the stage.
  const skipped = [{ strategy: 'kept' }]
  expect(report.recoveries).toMatchObject([{ strategy: 'checkfree', stage: 2, skipped }])
  expect(report.recoveries[0]!.bytes).toBeGreaterThan(0)
  expect(report.losses.map(({ step }) => step)).toEqual(Array.from({ length: 12 }, (_, i) => i + 1))
  expect(report).toMatchObject({ committedOnce: true, failure: null })
  expect(report.losses.at(-1)!.loss).toBeLessThan(report.losses[4]!.loss)
  for (const { pid } of report.processes) expect(existsSync(`/proc/${pid}`)).toBe(false)
})

test('Ctrl-C ends every process, and no partial file remains', async () => {
  const folder = workFolder()
  const child = execFile(process.execPath, [MAIN, ...ENDLESS], { cwd: folder })
  onTestFinished(() => {
    child.kill('SIGKILL')
  })
  let output = ''
  const pids = await new Promise<string[]>((resolve, reject) => {
    child.once('exit', () => reject(new Error(`the demo ended early: ${output}`)))
    child.stdout!.on('data', (text: string) => {
      output += text
      // After the first step, all processes are working.
      if (/^ +1 +\d+\.\d/m.test(output)) {
        resolve(
          readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').trim().split(' '),
        )
      }
    })
  })
  child.removeAllListeners('exit')
  expect(pids).toHaveLength(2)
  const exited = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGINT')
  expect(await exited).toBe(1)
  for (const pid of pids) expect(existsSync(`/proc/${pid}`)).toBe(false)
  expect(readdirSync(folder)).toEqual(['text.txt'])
})

test('a stage that the run does not have is refused before a process starts', async () => {
  const folder = workFolder()
  const { code, stderr } = await cli(
    ['demo', '--kill-stage', 'middle,3', '--stages', '2', ...TINY],
    folder,
  )
  expect(stderr).toMatch(
    /--kill-stage middle,3: "3" is none of 0\.\.2 or ends, first, middle, last/,
  )
  expect(code).toBe(2)
})

test('an unsupported version of Node gets a message with a remedy, without a stack trace', async () => {
  const pretend = `Object.defineProperty(process.versions, 'node', { value: '20.20.2' })`
  const args = ['--import', `data:text/javascript,${pretend}`, MAIN, 'demo']
  const { code, stderr } = await new Promise<{ code: number | null; stderr: string }>((resolve) => {
    const child = execFile(process.execPath, args, (_, __, stderr) =>
      resolve({ code: child.exitCode, stderr }),
    )
  })
  expect(stderr).toMatch(/needs Node 22\.18 or later; this is 20\.20\.2/)
  expect(stderr).toMatch(/npm run gensyn-node/)
  expect(stderr).not.toMatch(/^\s+at /m)
  expect(code).toBe(2)
})

test('no process outlives a demo that is killed', async () => {
  const folder = workFolder()
  // A killed demo cannot remove its temporary files. They are removed with the folder.
  const env = { ...process.env, TMPDIR: folder }
  const child = execFile(process.execPath, [MAIN, ...ENDLESS], { cwd: folder, env })
  let output = ''
  const pids = await new Promise<string[]>((resolve) => {
    child.stdout!.on('data', (text: string) => {
      output += text
      if (/^ +1 +\d+\.\d/m.test(output)) {
        const children = `/proc/${child.pid}/task/${child.pid}/children`
        resolve(readFileSync(children, 'utf8').trim().split(' '))
      }
    })
  })
  child.kill('SIGKILL')
  await vi.waitFor(() => expect(pids.filter((pid) => existsSync(`/proc/${pid}`))).toEqual([]), {
    timeout: 20_000,
    interval: 100,
  })
})
