/**
 * Real processes, one of them in a folder without the dataset, which it fetches from the others. The model is exported
 * during the training, and equals the model of a run that stopped at the same step.
 */
import { copyFileSync, existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { systemClock } from '../../protocols/clock.ts'
import { peerFolders } from '../../src/base/data-dir.ts'
import type { Entry } from '../../src/base/journal.ts'
import { Children } from '../../src/cli/children.ts'
import { readRun, runId } from '../../src/run/run.ts'
import { cli, workFolder } from '../fixtures/cli.ts'
import { GOLDEN, jsonLines, makeDataset, sentences, write } from '../fixtures/dataset.ts'

/** One microbatch a step, since the sum of several depends on the order of their arrival. */
const SIZES = [
  ...['--stages', '2', '--layers', '2', '--hidden', '32', '--heads', '2', '--context', '24'],
  ...['--batch', '2', '--microbatches', '1', '--steps', '1000000', '--evaluate-every', '1000000'],
]

class Swarm {
  readonly children = new Children()
  step = 0
  readonly #waiting: { step: number; resolve: () => void }[] = []

  constructor() {
    onTestFinished(() => this.children.stop(systemClock))
  }

  /** Resolves with the peer's address after it has entered the run; `exited` resolves with its exit code. */
  join(folder: string, ...options: string[]) {
    const args = ['join', '--run', join(folder, 'run.json'), '--threads', '1', '--provider', 'cpu']
    const entered = Promise.withResolvers<string>()
    let address = ''
    const hear = (entry: Entry) => {
      if (entry.type === 'started') address = entry.addresses[0]!
      if (entry.type === 'founded' || entry.type === 'joined') entered.resolve(address)
      if (entry.type !== 'step') return
      this.step = entry.step
      for (const { step, resolve } of this.#waiting) if (entry.step >= step) resolve()
    }
    const child = this.children.start([...args, '--no-mdns', ...options], hear, (text) =>
      entered.reject(new Error(text)),
    )
    return { entered: entered.promise, ...child }
  }

  until(step: number): Promise<void> {
    return new Promise((resolve) => this.#waiting.push({ step, resolve }))
  }
}

// The test is long because it follows one run of real processes from its beginning to its end.
test('a live export equals the model of a run that stopped at its step, and a peer without data fetches it from others', async () => {
  const [home, away] = [workFolder(), workFolder()]
  const texts = Array.from({ length: 2000 }, (_, i) => sentences(i, 60))
  const source = write(home, 'texts.jsonl', jsonLines(texts))
  const tokenizer = join(GOLDEN, 'tokenizers', 'gpt2.json')
  const { dataset } = await makeDataset(home, [source], { tokenizer })
  expect(await cli(['init', '--data', 'dataset', ...SIZES], home)).toMatchObject({ code: 0 })
  const id = runId(readRun(join(home, 'run.json')))
  copyFileSync(join(home, 'run.json'), join(away, 'run.json'))

  const swarm = new Swarm()
  const founder = swarm.join(home, '--stage', '1')
  const address = await founder.entered
  swarm.join(home, '--stage', '2', '--bootstrap', address)
  // The holder of the ends, the only reader of text, has no dataset in its folder.
  swarm.join(away, '--stage', '0', '--bootstrap', address)
  await swarm.until(10)
  const [folderOfPeer] = peerFolders(join(away, '.gensyn'), id)
  const fetched = readdirSync(join(folderOfPeer!, 'shards'))
  const { train, heldOut } = dataset.sources[0]!
  const names = new Set([...train.shards, ...heldOut.shards].map(({ sha256 }) => sha256))
  const shards = fetched.filter((name) => names.has(name))
  expect(shards.length).toBeGreaterThan(3)
  expect(shards.length).toBeLessThan(names.size / 2)
  expect(existsSync(join(away, 'dataset'))).toBe(false)

  const live = ['export', '--peer', '--format', 'safetensors', '--out', 'live', '--json']
  const before = swarm.step
  const exported = await cli(live, home)
  expect(exported).toMatchObject({ code: 0, stderr: '' })
  const { step } = JSON.parse(exported.stdout)
  expect(step).toBeGreaterThanOrEqual(before)
  await swarm.until(step + 20)

  // A guest with an address, in a folder without weights and tokenizer.
  const speak = ['generate', '--peer', address, '--prompt', 'the swarm', '--max-tokens', '8']
  const spoken = await cli([...speak, '--data-dir', 'none', '--json'], away)
  expect(spoken).toMatchObject({ code: 0, stderr: '' })
  const { tokens, end } = JSON.parse(spoken.stdout)
  // The export is of a later step, whose model may end its text earlier.
  expect(tokens.length).toSatisfy((count: number) => (end === 'length' ? count === 8 : count < 8))
  await swarm.children.stop(systemClock)

  const gone = await cli(['export', '--peer', '--format', 'gguf', '--out', 'gone'], home)
  expect(gone.stderr).toMatch(/No peer of run .* can be reached.*--peer/)
  expect(gone.code).toBe(2)

  const again = new Swarm()
  const stop = ['--steps', String(step), '--data-dir', join(home, 'again')]
  const first = again.join(home, '--stage', '1', ...stop)
  const found = ['--bootstrap', await first.entered]
  const others = ['0', '2'].map((stage) => again.join(home, '--stage', stage, ...found, ...stop))
  const exits = await Promise.all([first, ...others].map(({ exited }) => exited))
  expect(exits).toEqual([0, 0, 0])
  const saved = ['export', '--format', 'safetensors', '--out', 'saved', '--data-dir', 'again']
  expect(await cli(saved, home)).toMatchObject({ code: 0, stderr: '' })
  const files = readdirSync(join(home, 'saved'))
  expect(files).toContain('tokenizer_config.json')
  for (const name of files) {
    const [one, other] = ['live', 'saved'].map((folder) => readFileSync(join(home, folder, name)))
    expect(one!.equals(other!), name).toBe(true)
  }
}, 180_000)
