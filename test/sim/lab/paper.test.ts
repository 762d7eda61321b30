import { expect, test } from 'vitest'
import { PAPER_PROTOCOL, playPaperIteration } from '../../../sim/lab/paper/iteration.ts'
import { playOurIteration } from '../../../sim/lab/paper/our-iteration.ts'
import { PAPER_NETWORK, paperLinks } from '../../../sim/lab/paper/regions.ts'

/** Measurements of the paper: Table 2, and the time stamps of its runs. */
const PAPER_SECONDS = 91.3

const GIB = 1024 ** 3

test("an iteration of the paper's protocol takes what the paper measured, within 1 %", async () => {
  const { seconds, microbatchesSeconds, exchangeSeconds } = await playPaperIteration()
  expect(Math.abs(seconds / PAPER_SECONDS - 1)).toBeLessThan(0.01)
  expect(seconds).toBeCloseTo(
    PAPER_PROTOCOL.sleepMs / 1000 + microbatchesSeconds + exchangeSeconds,
    9,
  )
})

test('a microbatch is on the way for 18.7 s there and back, whichever route it takes', async () => {
  // The regions are Australia, Germany, London, Canada, the Netherlands, Belgium, Iowa and Australia. Two hops take less
  // than 0.2 s.
  const hops: [ms: number, gibPerSecond: number][] = [
    [125.5, 0.01046],
    [38.5, 0.03638],
    [42, 0.02502],
    [49, 0.02832],
    [84, 0.01123],
  ]
  const oneWay = hops.reduce(
    (sum, [ms, gib]) => sum + (ms - 0.1) / 1000 + (8 * 1024 * 1024 * 4) / GIB / gib,
    0,
  )
  const free = { forwardMs: 0, backwardMs: 0, microbatches: 1 }
  const { microbatchesSeconds } = await playPaperIteration(free)
  expect(microbatchesSeconds).toBeCloseTo(2 * oneWay, 3)
  expect(Math.abs(microbatchesSeconds / 18.7 - 1)).toBeLessThan(0.01)
})

test('the slowest exchange of gradients is that of London and Australia', async () => {
  const { exchangeSeconds } = await playPaperIteration({ microbatches: 0 })
  expect(exchangeSeconds).toBeCloseTo(0.1319 + 0.25 / 0.0094, 3)
  expect(Math.abs(exchangeSeconds / 26.7 - 1)).toBeLessThan(0.01)
})

test('every two regions have a link, the same in both directions', () => {
  const links = paperLinks('none')
  const { length } = PAPER_NETWORK.regions
  expect(PAPER_NETWORK.between).toHaveLength((length * (length - 1)) / 2)
  for (let a = 0; a < length; a++) {
    for (let b = 0; b < length; b++) expect(links(a, b)).toEqual(links(b, a))
  }
  expect(links(0, 7)).toMatchObject({ latencyMs: 9.9, queue: null })
  expect(links(0, 7).bytesPerMs).toBeCloseTo((0.5 * GIB) / 1000, 0)
})

test('our node makes an iteration of as many microbatches in less, and transfers that share an uplink take longer', async () => {
  const alone = await playOurIteration('none')
  const shared = await playOurIteration('uplink')
  // The lower bound is one microbatch on its own route: Australia, Belgium, Canada, Germany, Iowa, the Netherlands,
  // London.
  const way = [0.00983, 0.0199, 0.03186, 0.02661, 0.0274, 0.02368, 0.0094]
  const bound = 2 * way.reduce((sum, gib) => sum + 1 / 32 / gib, 0) + 6 * 1.2
  expect(alone).toBeGreaterThan(bound)
  expect(alone).toBeLessThan(PAPER_SECONDS)
  expect(shared).toBeGreaterThan(alone)
})
