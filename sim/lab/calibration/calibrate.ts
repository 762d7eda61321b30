/** Measures this machine for a run: see docs/CALIBRATION.md. */
import { availableParallelism, cpus } from 'node:os'
import type { Clock } from '../../../protocols/clock.ts'
import type { Run } from '../../../src/run/run.ts'
import type { Costs } from '../../scenario.ts'
import { type Calibration, shapeOf } from './calibration.ts'
import { measureLoopback } from './loopback.ts'
import { measureStages, type StageOptions } from './stage-costs.ts'

/**
 * Measures stages and loopback, which takes up to a minute on an idle machine.
 * Other programs that run at the same time change the result.
 */
export async function calibrate(
  run: Run,
  options: StageOptions,
  clock: Clock,
): Promise<Calibration> {
  // Stages come first, because the build time must be that of a process without stages.
  const { costMs, cores } = await measureStages(run, options, clock)
  const { link, messageMs } = await measureLoopback(run, clock)
  return {
    format: 'gensyn-calibration',
    version: 1,
    costMs,
    link,
    cores,
    messageMs,
    shape: shapeOf(run),
    machine: {
      processor: cpus()[0]?.model ?? 'unknown',
      cores: availableParallelism(),
      system: `${process.platform} ${process.arch}`,
      node: process.version,
      ...options,
    },
  }
}

/**
 * Mean of two calibrations, one from before an experiment and one from after it.
 * The mean accounts for a machine whose speed changes during the experiment.
 */
export function meanOf(before: Calibration, after: Calibration): Calibration {
  const mean = <T extends object>(a: T, b: T): T =>
    Object.fromEntries(
      Object.entries(a).map(([name, value]) => [name, (value + b[name as keyof T]) / 2]),
    ) as T
  return {
    ...before,
    costMs: { ...mean<Costs>(before.costMs, after.costMs), build: before.costMs.build },
    link: mean(before.link, after.link),
    messageMs: mean(before.messageMs, after.messageMs),
    cores: (before.cores + after.cores) / 2,
  }
}
