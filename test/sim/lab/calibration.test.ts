import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { systemClock } from '../../../protocols/clock.ts'
import { calibrate, meanOf } from '../../../sim/lab/calibration/calibrate.ts'
import {
  type Calibration,
  readCalibration,
  shapeOf,
  writeCalibration,
} from '../../../sim/lab/calibration/calibration.ts'
import { costsOf } from '../../../sim/lab/calibration/loopback.ts'
import { sameLosses, toldBy } from '../../../sim/lab/calibration/told.ts'
import { DEFAULT_COSTS, play } from '../../../sim/scenario.ts'
import type { Entry } from '../../../src/base/journal.ts'
import { temporaryFolder } from '../../fixtures/folder.ts'
import { entriesOf, tinyCorpus, tinyRun } from '../../fixtures/swarm.ts'

const run = tinyRun({ steps: 3 })

const CALIBRATION: Calibration = {
  format: 'gensyn-calibration',
  version: 1,
  costMs: DEFAULT_COSTS,
  link: { latencyMs: 0.1, bytesPerMs: 500_000 },
  cores: 1.7,
  messageMs: { each: 0.1, perMegabyte: 2 },
  shape: shapeOf(run),
  machine: {
    processor: 'test',
    cores: 2,
    system: 'linux x64',
    node: 'v24.0.0',
    provider: 'cpu',
    threads: 1,
  },
}

test('what processors do not account for is the link', () => {
  // Without a body a message takes 0.8 ms of work and 0.2 ms of waiting. Each further megabyte takes 4 ms of work and 1 ms
  // on the link.
  const { link, messageMs } = costsOf(
    { wallMs: 1, cpuMs: 0.8 },
    { wallMs: 6, cpuMs: 4.8 },
    1_000_000,
  )
  expect(messageMs.each).toBeCloseTo(0.2)
  expect(messageMs.perMegabyte).toBeCloseTo(2)
  expect(link.latencyMs).toBeCloseTo(0.1)
  expect(link.bytesPerMs).toBeCloseTo(1_000_000)
})

test('a link that hides behind the work of its ends is as fast as memory, and takes no negative time', () => {
  const { link } = costsOf({ wallMs: 1, cpuMs: 1.2 }, { wallMs: 2, cpuMs: 3 }, 1_000_000)
  expect(link).toEqual({ latencyMs: 0, bytesPerMs: 10_000_000 })
})

test('a calibration comes back from its file as it went', () => {
  const path = join(temporaryFolder(), 'calibration.json')
  writeCalibration(path, CALIBRATION)
  expect(readCalibration(path, run)).toEqual(CALIBRATION)
})

test('what is no calibration for the run is refused, by name', () => {
  const path = join(temporaryFolder(), 'calibration.json')
  expect(() => readCalibration(path, run)).toThrow(/cannot be read \(ENOENT\)/)
  writeFileSync(path, JSON.stringify({ ...CALIBRATION, cores: -1 }))
  expect(() => readCalibration(path, run)).toThrow(/cores/)
  writeFileSync(path, JSON.stringify({ ...CALIBRATION, speed: 1 }))
  expect(() => readCalibration(path, run)).toThrow(/speed/)
  const { update: _, ...costMs } = DEFAULT_COSTS
  writeFileSync(path, JSON.stringify({ ...CALIBRATION, costMs }))
  expect(() => readCalibration(path, run)).toThrow(/update/)
  writeCalibration(path, CALIBRATION)
  const wider = { ...run, model: { ...run.model, hiddenSize: 32 } }
  expect(() => readCalibration(path, wider)).toThrow(/hiddenSize 16, this run has 32/)
})

test('two calibrations have a mean', () => {
  const slow = { ...CALIBRATION, cores: 1.3, costMs: { ...DEFAULT_COSTS, forward: 40, build: 1 } }
  const mean = meanOf(CALIBRATION, slow)
  expect(mean).toMatchObject({ cores: 1.5, costMs: { forward: 30, build: DEFAULT_COSTS.build } })
  expect(mean.messageMs).toEqual(CALIBRATION.messageMs)
})

test('a journal tells its seconds a step, its losses and what came back', () => {
  const at = (ms: number) => ({ at: ms, peer: 'a' })
  const steps = [0, 9_000, 10_000, 11_000, 20_000].map(
    (ms, i) => ({ ...at(ms), type: 'step', step: i + 1, loss: 5 - i }) as Entry,
  )
  const held = { ...at(15_000), type: 'held', cause: 'lost', stage: 3, strategy: 'copy', ofStep: 4 }
  const entries = [...steps.slice(0, 4), held as Entry, ...steps.slice(4)]
  const told = toldBy(entries, 1)
  expect(told).toEqual({
    secondsAStep: 1,
    losses: [5, 4, 3, 2, 1],
    recoveries: [{ stage: 3, step: 4, strategy: 'copy', ofStep: 4 }],
  })
  expect(sameLosses(told, told)).toBe(5)
  expect(sameLosses(told, { ...told, losses: [5, 4, 3 + 1e-15, 2, 1] })).toBe(2)
})

test('this machine can be measured, and a run played in its time', async () => {
  const calibration = await calibrate(run, { provider: 'cpu', threads: 1 }, systemClock)
  for (const [method, ms] of Object.entries(calibration.costMs)) {
    if (method !== 'close') expect(ms, method).toBeGreaterThan(0)
  }
  expect(calibration.cores).toBeGreaterThanOrEqual(1)
  expect(calibration.messageMs.each).toBeGreaterThan(0)
  const { costMs, link, cores, messageMs } = calibration
  const { entries } = await play({
    run,
    corpus: tinyCorpus(),
    spares: 0,
    deaths: [],
    replaced: false,
    link,
    costMs,
    cores,
    messageMs,
    limitMs: 600_000,
  })
  expect(entriesOf(entries, 'step')).toHaveLength(3)
})
