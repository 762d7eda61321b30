/** One measurement of bench/prepare.ts, in a process of its own, whose memory nothing else has used before. */
import { prepare } from '../src/data/prepare.ts'
import { rounded } from './statistics.ts'

const MEGABYTE = 1e6

/** What memory may grow by over the whole text, as a share of its mean. */
const GROWTH = 0.1
/** Of the samples: until then the remembered pieces come together. */
const WARM_UP = 0.25
/** MB/s */
const SLOWEST = 5

const [texts, tokenizer, out] = process.argv.slice(2) as [string, string, string]
const collect = globalThis.gc
if (collect === undefined) throw new Error('run with --expose-gc')
/**
 * Bytes read so far, and resident memory then, both in MB. What V8 has yet to collect comes and goes by its own measure and
 * would hide what is held: it is collected first, outside of the time that counts.
 */
const samples: { read: number; resident: number }[] = []
let read = 0
let collecting = 0
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
    const before = performance.now()
    collect()
    collecting += performance.now() - before
    samples.push({ read, resident: process.memoryUsage.rss() / MEGABYTE })
  },
})
const seconds = (performance.now() - begun - collecting) / 1000
const { user, system } = process.cpuUsage()
made.discard()
const { train, heldOut } = made.dataset.sources[0]!
const warm = samples.slice(Math.round(samples.length * WARM_UP))
const mean = meanOf(warm.map(({ resident }) => resident))
const growth = slope(warm) * read
const speed = read / seconds
const result = {
  seconds: rounded(seconds),
  // What others take of the machine does not count here; the start of the process does.
  cpuSeconds: rounded((user + system) / 1e6),
  megabytesPerSecond: rounded(speed),
  fast: speed >= SLOWEST,
  tokens: train.tokens + heldOut.tokens,
  residentMegabytes: samples.map(({ resident }) => Math.round(resident)),
  meanMegabytes: Math.round(mean),
  growthMegabytes: rounded(growth),
  flat: growth <= GROWTH * mean,
}
console.log(JSON.stringify(result))

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

/** Least squares, MB of memory for each MB of text. */
function slope(points: typeof samples): number {
  const x = meanOf(points.map((point) => point.read))
  const y = meanOf(points.map(({ resident }) => resident))
  const products = points.map((point) => (point.read - x) * (point.resident - y))
  const squares = points.map((point) => (point.read - x) ** 2)
  return meanOf(products) / meanOf(squares)
}
