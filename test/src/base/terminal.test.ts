/** The terminal: text for people, JSON for programs, and exit codes. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { Writable } from 'node:stream'
import { expect, test } from 'vitest'
import { ProtocolError } from '../../../protocols/errors.ts'
import { exitCodeOf, InputError } from '../../../src/base/errors.ts'
import { createTerminal } from '../../../src/base/terminal.ts'

/** A stream that stores the written text. */
function sheet() {
  let text = ''
  const stream = new Writable({
    write: (chunk, _, done) => {
      text += chunk
      done()
    },
  })
  return { stream, read: () => text }
}

function terminalOn(json: boolean) {
  const out = sheet()
  const err = sheet()
  const terminal = createTerminal({ json, stream: out.stream, errorStream: err.stream })
  return { terminal, out, err }
}

test('without --json, lines go to stdout and errors to stderr', () => {
  const { terminal, out, err } = terminalOn(false)
  terminal.line('step 1')
  terminal.event({ type: 'step' })
  terminal.fail(new InputError('run.json does not exist.'))
  terminal.fail(new ProtocolError('WRONG_RUN', 'a peer of another run'))
  expect(out.read()).toBe('step 1\n')
  expect(err.read()).toBe(
    'gensyn-node: run.json does not exist.\ngensyn-node: a peer of another run\n',
  )
})

test('with --json, events and errors go to stdout as one JSON object a line', () => {
  const { terminal, out, err } = terminalOn(true)
  terminal.line('step 1')
  terminal.event({ type: 'step', note: 'two\nlines' })
  terminal.fail(new InputError('run.json does not exist.'))
  const events = out
    .read()
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown)
  expect(events).toEqual([
    { type: 'step', note: 'two\nlines' },
    { type: 'error', name: 'InputError', message: 'run.json does not exist.' },
  ])
  expect(err.read()).toBe('')
})

test('an error by a programming mistake is printed with its stack trace', () => {
  const { terminal, err } = terminalOn(false)
  terminal.fail(new TypeError('x is not a function'))
  expect(err.read()).toMatch(
    /^gensyn-node: TypeError: x is not a function\n +at .*terminal\.test\.ts/,
  )
})

test('control characters are replaced before text is printed', () => {
  const { terminal, out } = terminalOn(false)
  terminal.line('\u001b[2Jgone\u009b31m\r\ttab')
  expect(out.read()).toBe('\ufffd[2Jgone\ufffd31m\ufffd\ttab\n')
})

test('a closed pipe ends the printing, and the program continues', async () => {
  const program = `
    import { createTerminal } from ${JSON.stringify(new URL('../../../src/base/terminal.ts', import.meta.url))}
    const terminal = createTerminal({ json: false })
    process.stdin.on('data', () => terminal.line('more')).on('end', () => terminal.fail('still here'))
    terminal.line('first')`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program])
  const exited = once(child, 'exit')
  const complaint = once(child.stderr, 'data')
  await once(child.stdout, 'data')
  child.stdout.destroy()
  await once(child.stdout, 'close')
  child.stdin.write('write into the void')
  child.stdin.end()
  expect(String((await complaint)[0])).toBe('gensyn-node: still here\n')
  expect(await exited).toEqual([0, null])
})

test('an InputError has exit code 2, and any other error has exit code 1', () => {
  expect(exitCodeOf(new InputError('x'))).toBe(2)
  expect(exitCodeOf(new Error('x'))).toBe(1)
  expect(exitCodeOf('x')).toBe(1)
})

test('an output on a full disk ends the output, not the command', async () => {
  const err = sheet()
  const full = new Writable({
    write: (_chunk, _, done) => done(Object.assign(new Error('no space left'), { code: 'ENOSPC' })),
  })
  const terminal = createTerminal({ json: false, stream: full, errorStream: err.stream })
  terminal.line('step 1')
  await new Promise((resolve) => full.once('close', resolve))
  terminal.line('step 2')
  expect(err.read()).toBe(
    'gensyn-node: the output cannot be written (no space left): this process goes on, and prints no more.\n',
  )
})
