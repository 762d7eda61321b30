/** One measurement of bench/prepare.ts, in a process whose memory nothing else has used before. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { prepare } from '../src/data/prepare.ts'
import { rounded } from './statistics.ts'

const MEGABYTE = 1e6
/** Words with the space before them, as a byte-level tokenizer splits a text. */
const PIECES = / ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+/gu

/** Memory may grow by this share of its mean over the whole text. */
const GROWTH = 0.1
/** Share of the samples that are left out: the cache of pieces fills meanwhile. */
const WARM_UP = 0.25

const [texts, tokenizer, out, least] = process.argv.slice(2) as [string, string, string, string]
const collect = globalThis.gc
if (collect === undefined) throw new Error('run with --expose-gc')
/**
 * Text read so far, and resident memory then, both in MB. Garbage would hide the live memory, so V8 collects it first,
 * outside of the measured time.
 */
const samples: { read: number; resident: number }[] = []
let read = 0
/** Seconds of collections. */
const collecting = { wall: 0, cpu: 0 }
const plain = countPieces(join(texts, '0.txt'))
const before = process.cpuUsage()
const begun = performance.now()
const made = await prepare({
  sources: [texts],
  tokenizer,
  field: 'text',
  heldOut: 0.05,
  out,
  force: false,
  onFile: ({ bytes }) => {
    read += bytes / MEGABYTE
    const start = performance.now()
    const used = process.cpuUsage()
    collect()
    const { user, system } = process.cpuUsage(used)
    collecting.wall += (performance.now() - start) / 1000
    collecting.cpu += (user + system) / 1e6
    samples.push({ read, resident: process.memoryUsage.rss() / MEGABYTE })
  },
})
const seconds = (performance.now() - begun) / 1000 - collecting.wall
const { user, system } = process.cpuUsage(before)
made.discard()
const { train, heldOut } = made.dataset.sources[0]!
const warm = samples.slice(Math.round(samples.length * WARM_UP))
const mean = meanOf(warm.map(({ resident }) => resident))
const growth = slope(warm) * read
const cpuSeconds = (user + system) / 1e6 - collecting.cpu
const shareOfPlain = read / cpuSeconds / plain
const result = {
  seconds: rounded(seconds),
  cpuSeconds: rounded(cpuSeconds),
  megabytesPerSecond: rounded(read / seconds),
  megabytesPerCpuSecond: rounded(read / cpuSeconds),
  /** MB a second of processor time of counting the pieces of the text. */
  plain: rounded(plain),
  shareOfPlain: rounded(shareOfPlain),
  fast: shareOfPlain >= Number(least),
  tokens: train.tokens + heldOut.tokens,
  residentMegabytes: samples.map(({ resident }) => Math.round(resident)),
  meanMegabytes: Math.round(mean),
  growthMegabytes: rounded(growth),
  flat: growth <= GROWTH * mean,
}
console.log(JSON.stringify(result))

/**
 * Reference for the speed of this machine: splits a file into words by a regular expression, and counts each word in a map.
 * @returns MB a second of processor time, the fastest of some rounds
 */
function countPieces(path: string): number {
  const bytes = readFileSync(path)
  let fastest = 0
  for (let round = 0; round < 5; round++) {
    const used = process.cpuUsage()
    const counts = new Map<string, number>()
    for (const [piece] of bytes.toString('utf8').matchAll(PIECES)) {
      counts.set(piece, (counts.get(piece) ?? 0) + 1)
    }
    const { user, system } = process.cpuUsage(used)
    fastest = Math.max(fastest, bytes.length / (user + system))
  }
  return fastest
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

/** Slope of a least-squares line: MB of memory for each MB of text. */
function slope(points: typeof samples): number {
  const x = meanOf(points.map((point) => point.read))
  const y = meanOf(points.map(({ resident }) => resident))
  const products = points.map((point) => (point.read - x) * (point.resident - y))
  const squares = points.map((point) => (point.read - x) ** 2)
  return meanOf(products) / meanOf(squares)
}
