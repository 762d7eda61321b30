/** Real processes and the simulation of the same manifest have the same losses bit for bit, and the same recovery. */
import { resolve } from 'node:path'
import { expect, test } from 'vitest'
import { systemClock } from '../../protocols/clock.ts'
import { playLive } from '../../sim/lab/calibration/live.ts'
import { toldBy } from '../../sim/lab/calibration/told.ts'
import { DEFAULT_COSTS, DEFAULT_LINK, play } from '../../sim/scenario.ts'
import { loadCorpus } from '../../src/data/corpus.ts'

const STEPS = 8
const settings = {
  hidden: '16',
  heads: '2',
  context: '16',
  batch: '2',
  steps: String(STEPS),
  evaluateEvery: String(STEPS),
}
const io = { clock: systemClock, line: () => {}, signal: new AbortController().signal }

test.each([
  ['of 1 body stage that is left alone', '1', null],
  ['of 3 body stages that loses the second', '3', { stage: 2, step: 4 }],
])('a live swarm %s has the losses and recoveries of its simulation', async (_, stages, kill) => {
  const live = { settings: { ...settings, stages, layers: stages }, kill }
  const { run, entries } = await playLive(live, io)
  const deaths = kill === null ? [] : [kill]
  const virtual = await play({
    run,
    corpus: await loadCorpus(run, resolve('run.json')),
    spares: deaths.length,
    deaths,
    replaced: false,
    // The simulation is not calibrated, since the losses do not depend on time.
    link: DEFAULT_LINK,
    costMs: DEFAULT_COSTS,
    cores: 2,
    limitMs: 600_000,
  })
  const told = toldBy(entries, 0)
  expect(told.losses).toHaveLength(STEPS)
  expect(told.losses).toEqual(toldBy(virtual.entries, 0).losses)
  expect(told.recoveries).toEqual(toldBy(virtual.entries, 0).recoveries)
  expect(told.recoveries).toHaveLength(deaths.length)
})
