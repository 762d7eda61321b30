/**
 * `npm run test:llama-cpp`: tests exported GGUF files with llama.cpp. It is a script of its own, since it installs llama.cpp
 * and trains a model. `-- --run FILE` takes the weights of an existing run.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { readSource } from '../../src/data/corpus.ts'
import { readRun } from '../../src/run/run.ts'
import { type Llama, type LlamaModel, loadLlamaCpp } from './binding.ts'
import { RANDOM_MODELS, writeBpeModel } from './models.ts'

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url))

/** A training of a few seconds that is enough for clear differences between logits. */
const DEMO = '--stages 2 --layers 2 --kv-heads 2 --steps 80 --evaluate-every 80 --no-kill'.split(
  ' ',
)

const GREEDY_TOKENS = 64
const PROMPT = 'The people of the United States '
const HELD_OUT_BYTES = 16_384
/** Largest relative difference of the perplexity. */
const BOUNDS = { float32: 5e-3, float16: 5e-3, q8_0: 2e-2 } as const
/**
 * Largest relative difference of the mean loss, for models with large random weights. Rounding in llama.cpp causes 5e-5
 * to 3e-4 of it, with stretched contexts and without. Rounding in this program causes 4e-9.
 */
const RANDOM_BOUND = 5e-4
const TORTURE = "  don't\r\n\t 1234567 Zürich ❄ 漢字 🙂‍↔️ \u0000 <|end|> ÀÉ"

function cli(args: readonly string[], cwd: string): string {
  return execFileSync(process.execPath, [MAIN, ...args], { cwd, encoding: 'utf8' })
}

/**
 * One thread, since several threads wait by spinning, which turns seconds into minutes on a busy machine. Keys and values
 * have float32, since the rounding of llama.cpp's default, float16, would dominate the result.
 */
function contextOf(contextSize: number) {
  const cache = { experimentalKvCacheKeyType: 'F32', experimentalKvCacheValueType: 'F32' } as const
  return { contextSize, flashAttention: false, threads: 1, ...cache }
}

let failures = 0

function report(what: string, good: boolean, figures: object): void {
  if (!good) failures++
  console.log(JSON.stringify({ what, good, ...figures }))
}

/** Mean cross-entropy in nats a token by llama.cpp, in the windows of `gensyn-node eval`. */
async function nats(model: LlamaModel, text: Uint8Array, context: number): Promise<number> {
  const made = await model.createContext(contextOf(context))
  const sequence = made.getSequence()
  let total = 0
  let count = 0
  for (let begin = 0; begin + 1 < text.length; begin += context) {
    const window = [...text.subarray(begin, begin + context + 1)]
    await sequence.clearHistory()
    const outputs = await sequence.controlledEvaluate(
      window.slice(0, -1).map((token) => [token, { generateNext: { logits: true } }]),
    )
    for (const [i, { next }] of outputs.entries()) {
      const logits = [...next.logits.values()]
      const most = Math.max(...logits)
      const sum = logits.reduce((sum, logit) => sum + Math.exp(logit - most), 0)
      total += most + Math.log(sum) - next.logits.get(window[i + 1]!)!
      count++
    }
  }
  return total / count
}

async function trained(llama: Llama, folder: string, runPath: string): Promise<void> {
  const run = readRun(runPath)
  const text = await readSource(run.data.source, dirname(runPath))
  const heldOut = text.subarray(-HELD_OUT_BYTES)
  writeFileSync(join(folder, 'held-out.txt'), heldOut)
  const from = ['--run', runPath]
  const evaluated = JSON.parse(cli(['eval', 'held-out.txt', '--json', ...from], folder))
  const greedy = ['--prompt', PROMPT, '--max-tokens', String(GREEDY_TOKENS), '--temperature', '0']
  const generated = JSON.parse(cli(['generate', '--json', ...greedy, ...from], folder))
  for (const [dtype, bound] of Object.entries(BOUNDS)) {
    const out = join(folder, `${dtype}.gguf`)
    cli(['export', '--format', 'gguf', '--dtype', dtype, '--out', out, ...from], folder)
    const model = await llama.loadModel({ modelPath: out })
    const perplexity = Math.exp(await nats(model, heldOut, run.microbatch.context))
    const relative = Math.abs(perplexity / evaluated.perplexity - 1)
    const figures = { perplexity, own: evaluated.perplexity, relative, bound }
    report(`perplexity ${dtype}`, relative <= bound, figures)
    if (dtype === 'float32') {
      const bytes = [...Buffer.from(TORTURE)]
      const tokens = model.tokenize(TORTURE)
      report('any text is its bytes', String(tokens) === String(bytes), { bytes: bytes.length })
      const continued = await continuation(model, model.tokenize(PROMPT))
      const same = String(continued) === String(generated.tokens)
      report(`greedy continuation of ${GREEDY_TOKENS} tokens`, same, { text: generated.text })
    }
    await model.dispose()
  }
}

async function continuation(model: LlamaModel, prompt: readonly number[]): Promise<number[]> {
  const context = await model.createContext(contextOf(512))
  const tokens: number[] = []
  for await (const token of context.getSequence().evaluate(prompt, { temperature: 0 })) {
    tokens.push(token)
    if (tokens.length === GREEDY_TOKENS) break
  }
  return tokens
}

/** Models beside the demo's: heads of another size, tied embeddings, and stretched contexts. */
async function random(llama: Llama, folder: string): Promise<void> {
  const text = Buffer.from('Four score and seven years ago our fathers. '.repeat(12))
  writeFileSync(join(folder, 'text.txt'), text)
  for (const { name, write } of RANDOM_MODELS) {
    write(join(folder, name))
    const from = ['--model', name]
    cli(['export', '--format', 'gguf', '--out', `${name}.gguf`, ...from], folder)
    const judged = ['eval', 'text.txt', '--context', '256', '--json', ...from]
    const own = JSON.parse(cli(judged, folder)).nats
    const model = await llama.loadModel({ modelPath: join(folder, `${name}.gguf`) })
    const theirs = await nats(model, text, 256)
    const relative = Math.abs(theirs / own - 1)
    report(`loss of ${name}`, relative < RANDOM_BOUND, { nats: theirs, own, relative })
    await model.dispose()
  }
}

/** Compares a byte-level BPE: its merges, its added token, and its split of text. */
async function bpe(llama: Llama, folder: string): Promise<void> {
  const encode = writeBpeModel(join(folder, 'bpe'))
  cli(['export', '--format', 'gguf', '--model', 'bpe', '--out', 'bpe.gguf'], folder)
  const model = await llama.loadModel({ modelPath: join(folder, 'bpe.gguf') })
  for (const text of [TORTURE, readFileSync(MAIN, 'utf8'), 'then the other\n\n  then, there']) {
    const [theirs, library] = [model.tokenize(text, true), encode(text)]
    const same = String(theirs) === String(library)
    report('byte-level BPE is as in the tokenizers library', same, { tokens: library.length })
  }
  await model.dispose()
}

const { values } = parseArgs({ options: { run: { type: 'string' } } })
const folder = mkdtempSync(join(tmpdir(), 'gensyn-llama-cpp-'))
try {
  const llama = await loadLlamaCpp()
  if (values.run === undefined) cli(['demo', '--keep', 'demo', ...DEMO], folder)
  await trained(llama, folder, values.run ?? join(folder, 'demo', 'run.json'))
  await random(llama, folder)
  await bpe(llama, folder)
} finally {
  rmSync(folder, { recursive: true, force: true })
}
process.exitCode = failures === 0 ? 0 : 1
