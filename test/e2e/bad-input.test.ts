/** Invalid input: the message names it with a remedy, the exit code is 2, and no partial file remains. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, describe, expect, onTestFinished, test } from 'vitest'
import { systemClock } from '../../protocols/clock.ts'
import { Children } from '../../src/cli/children.ts'
import { CliHost, cli, TINY, workFolder } from '../fixtures/cli.ts'

const host = new CliHost()
afterAll(() => host.stop())

/** Manifests that `init` wrote, by their options. The same text and options give the same manifest. */
const manifests = new Map<string, string>()

/** A folder with a run of two body stages. */
async function withRun(...options: string[]): Promise<string> {
  const folder = workFolder()
  const path = join(folder, 'run.json')
  const known = manifests.get(options.join(' '))
  if (known !== undefined) {
    writeFileSync(path, known)
    return folder
  }
  const { code } = await host.run(['init', '--stages', '2', ...TINY, ...options], folder)
  expect(code).toBe(0)
  manifests.set(options.join(' '), readFileSync(path, 'utf8'))
  return folder
}

function edit(folder: string, change: (text: string) => string): void {
  const path = join(folder, 'run.json')
  writeFileSync(path, change(readFileSync(path, 'utf8')))
}

interface Case {
  readonly name: string
  readonly prepare?: (folder: string) => void | Promise<void>
  readonly args: readonly string[]
  /** Patterns of the message: the invalid thing, and the remedy. */
  readonly says: readonly RegExp[]
}

const JOIN = ['join', '--provider', 'cpu']

const CASES: readonly Case[] = [
  { name: 'an unknown option', args: [...JOIN, '--bananas'], says: [/unknown option '--bananas'/] },
  { name: 'an unknown command', args: ['jion'], says: [/unknown command 'jion'/, /join/] },
  {
    name: 'a missing run.json',
    args: [...JOIN, '--run', 'none.json'],
    says: [/none\.json does not exist/, /gensyn-node init/],
  },
  {
    name: 'a truncated run.json',
    prepare: (folder) => edit(folder, (text) => text.slice(0, 100)),
    args: JOIN,
    says: [/run\.json is not JSON, or only the beginning/, /init --force/],
  },
  {
    name: '--reshard-after without --checkpoints',
    args: [...JOIN, '--reshard-after', '60'],
    says: [/--reshard-after 60/, /--checkpoints/],
  },
  {
    name: 'a run.json of another version',
    prepare: (folder) => edit(folder, (text) => text.replace('"version": 1', '"version": 7')),
    args: JOIN,
    says: [/version 7/, /reads version 1/],
  },
  {
    name: 'an invalid setting',
    prepare: (folder) => edit(folder, (text) => text.replace('"heads": 2', '"heads": 3')),
    args: JOIN,
    says: [/model\.heads/],
  },
  {
    name: 'a stage that the run does not have',
    args: [...JOIN, '--stage', '9'],
    says: [/--stage 9/, /3 stages, 0 \(the ends\) to 2/],
  },
  {
    name: 'a model that does not fit into memory',
    prepare: (folder) =>
      edit(folder, (text) => text.replace(/"hiddenSize": \d+/, '"hiddenSize": 65536')),
    args: JOIN,
    says: [/will take about \d+ MB: weights \d+/, /MB are free here/, /smaller --hidden/],
  },
  {
    name: 'CUDA on a machine without it',
    args: ['join', '--provider', 'cuda'],
    says: [/libonnxruntime_providers_cuda\.so/, /onnxruntime-node-install/],
  },
  {
    name: '--spot outside a cloud',
    args: [...JOIN, '--no-mdns', '--spot', 'gcp', '--spot-url', 'http://127.0.0.1:1'],
    says: [/--spot gcp/, /127\.0\.0\.1:1/, /--spot off/],
  },
  {
    name: 'a failure domain that is too long',
    args: [...JOIN, '--domain', 'x'.repeat(65)],
    says: [/--domain/, /64 characters/],
  },
  {
    name: 'a malformed address',
    args: [...JOIN, '--listen', 'localhost:4001'],
    says: [/localhost:4001/],
  },
]

describe('join refuses', () => {
  test.each(CASES)('$name', async ({ prepare, args, says }) => {
    const folder = await withRun()
    await prepare?.(folder)
    const { code, stdout, stderr } = await host.run(args, folder)
    for (const pattern of says) expect(stderr).toMatch(pattern)
    expect(stderr).not.toMatch(/^\s+at /m)
    expect({ code, steps: stdout.match(/^ +\d+ +\d\.\d/m) }).toEqual({ code: 2, steps: null })
  })

  test('a port in use', async () => {
    const folder = await withRun()
    const server = createServer().listen(0, '127.0.0.1')
    onTestFinished(() => void server.close())
    await new Promise((resolve) => server.once('listening', resolve))
    const { port } = server.address() as { port: number }
    const { code, stderr } = await cli([...JOIN, '--listen', `/ip4/127.0.0.1/tcp/${port}`], folder)
    expect(stderr).toMatch(new RegExp(`cannot listen on /ip4/127.0.0.1/tcp/${port}`))
    expect(stderr).toMatch(/choose another --listen/)
    expect(code).toBe(2)
  })

  test('a peer of another run', async () => {
    const folder = await withRun()
    const other = await withRun('--seed', '2')
    const children = new Children()
    onTestFinished(() => children.stop(systemClock))
    const address = await new Promise<string>((resolve, reject) => {
      children.start(
        [...JOIN, '--no-mdns', '--run', join(folder, 'run.json')],
        (entry) => entry.type === 'started' && resolve(entry.addresses[0]!),
        reject,
      )
    })
    const { code, stderr } = await cli([...JOIN, '--bootstrap', address], other)
    expect(stderr).toMatch(/The peer at \/ip4\/.* has another run\.json than this one/)
    expect(code).toBe(2)
  })
})

describe('init writes no file and refuses', () => {
  test.each([
    ['an empty text', '', [], /text\.txt|file:/],
    ['a text shorter than a batch', 'short', [], /5 bytes/],
    ['layers that do not divide', 'x'.repeat(9999), ['--layers', '3'], /--layers.*3/],
    ['a setting that is not a number', 'x'.repeat(9999), ['--seed', 'blue'], /--seed.*"blue"/],
  ])('%s', async (_, text, options, says) => {
    const folder = workFolder()
    writeFileSync(join(folder, 'text.txt'), text)
    const args = ['init', '--stages', '2', ...TINY, ...options]
    const { code, stderr } = await host.run(args, folder)
    expect(stderr).toMatch(says)
    expect(code).toBe(2)
    expect(readdirSync(folder)).toEqual(['text.txt'])
  })

  test('a missing data file, and an existing manifest', async () => {
    const folder = await withRun()
    const missing = await cli(['init', '--data', 'none.txt', '--force'], folder)
    expect(missing).toMatchObject({ code: 2, stderr: expect.stringMatching(/none\.txt.*--data/) })
    const before = readFileSync(join(folder, 'run.json'), 'utf8')
    const again = await cli(['init', '--stages', '2', ...TINY], folder)
    expect(again).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/run\.json exists.*--force/),
    })
    expect(readFileSync(join(folder, 'run.json'), 'utf8')).toBe(before)
  })
})

test('sim refuses a setting of a single history beside a scenario, and writes no file', async () => {
  const folder = workFolder()
  const { code, stderr } = await host.run(['sim', '--scenario', 'quick', '--stages', '4'], folder)
  expect(stderr).toMatch(/--stages is not for scenarios: .*--set run\./)
  expect(code).toBe(2)
  expect(readdirSync(folder)).toEqual(['text.txt'])
})
