/**
 * `npm run bench:prepare`: megabytes a second of `gensyn-node prepare`, beside a program that counts the words of the same
 * text, and whether memory grows with the text. Exits with 1 if a share of that program's speed misses its bound, or if
 * memory has a trend. The text is made here: words with frequencies as in natural language (Zipf), from a lexicon larger
 * than any cache.
 */
import { execFileSync } from 'node:child_process'
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { availableParallelism, cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { trainTokenizer } from '../src/data/train-tokenizer.ts'
import { Random } from '../stages/random.ts'
import { rounded } from './statistics.ts'

const MEGABYTE = 1e6
const FILES = 40
const FILE_BYTES = 2.5 * MEGABYTE
/** Files from which the tokenizer is learnt. */
const LEARNT_FILES = 4
const WORDS = 300_000
const VOCABULARY = 16_384
const SYLLABLES = 'ka to ri ben du шка лов мир 学 习 é ün str ing er na'.split(' ')

/** Least share of the speed of counting words. */
const LEAST = { bytes: 1, bytePairs: 0.1 }

const folder = mkdtempSync(join(tmpdir(), 'gensyn-bench-'))
try {
  const texts = join(folder, 'texts')
  const bytes = writeTexts(texts)
  const tokenizer = join(folder, 'tokenizer.json')
  const begun = performance.now()
  const options = { vocabSize: VOCABULARY, field: 'text', out: tokenizer, force: false }
  const learnt = Array.from({ length: LEARNT_FILES }, (_, i) => join(texts, `${i}.txt`))
  await trainTokenizer({ ...options, sources: learnt })
  const result = {
    format: 'gensyn-bench-prepare',
    version: 2,
    machine: {
      cores: availableParallelism(),
      processor: cpus()[0]?.model.trim(),
      node: process.versions.node,
    },
    megabytes: rounded(bytes / MEGABYTE),
    tokenizerTraining: {
      megabytes: (LEARNT_FILES * FILE_BYTES) / MEGABYTE,
      vocabulary: VOCABULARY,
      seconds: rounded((performance.now() - begun) / 1000),
    },
    bytes: measure(texts, 'bytes', LEAST.bytes),
    bytePairs: measure(texts, tokenizer, LEAST.bytePairs),
  }
  console.log(JSON.stringify(result, null, 2))
  const good = [result.bytes, result.bytePairs].every(({ fast, flat }) => fast && flat)
  for (const [name, { shareOfPlain, fast, flat }] of Object.entries({
    bytes: result.bytes,
    bytePairs: result.bytePairs,
  })) {
    const least = LEAST[name as keyof typeof LEAST]
    console.log(
      `${fast ? 'pass' : 'FAIL'}: ${name}: ${shareOfPlain} of the speed of counting words, at least ${least}`,
    )
    console.log(`${flat ? 'pass' : 'FAIL'}: ${name}: memory does not grow with the text`)
  }
  process.exitCode = good ? 0 : 1
} finally {
  rmSync(folder, { recursive: true, force: true })
}

/** Measures in a process of its own, since learning the tokenizer leaves garbage behind. */
function measure(texts: string, tokenizer: string, least: number) {
  const program = fileURLToPath(new URL('./prepare-one.ts', import.meta.url))
  const out = join(folder, 'dataset')
  const args = ['--expose-gc', program, texts, tokenizer, out, String(least)]
  return JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' }))
}

/** Writes the files. Returns the number of bytes. */
function writeTexts(texts: string): number {
  const random = new Random('bench prepare')
  const lexicon = Array.from({ length: WORDS }, () => word(random))
  let all = 0
  mkdirSync(texts)
  for (let index = 0; index < FILES; index++) {
    const file = openSync(join(texts, `${index}.txt`), 'w')
    for (let written = 0; written < FILE_BYTES; ) {
      const count = writeSync(file, sentence(random, lexicon))
      written += count
      all += count
    }
    closeSync(file)
  }
  return all
}

function word(random: Random): string {
  const syllables = 1 + random.integer(5)
  return Array.from({ length: syllables }, () => SYLLABLES[random.integer(SYLLABLES.length)]).join(
    '',
  )
}

/** A few thousand bytes of text, so that a file takes few writes. */
function sentence(random: Random, lexicon: readonly string[]): string {
  const words = Array.from({ length: 500 }, () => {
    // Uniform in the logarithm of the rank: frequency falls with the rank.
    const rank = Math.floor(WORDS ** random.float()) - 1
    const end = random.float()
    return lexicon[rank]! + (end < 0.02 ? '.\n' : end < 0.1 ? ',' : end < 0.12 ? ' 1984' : '')
  })
  return `${words.join(' ')} `
}
