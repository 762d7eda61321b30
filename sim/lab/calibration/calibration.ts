/**
 * Reads and writes `calibration.json`: the measured costs of a machine for runs of one shape.
 * A simulation with these costs predicts the times of a swarm on that machine.
 */
import { readFileSync } from 'node:fs'
import { z } from 'zod'
import { replaceFile } from '../../../src/base/atomic-file.ts'
import { InputError, systemCode } from '../../../src/base/errors.ts'
import type { Run } from '../../../src/run/run.ts'
import { type Costs, DEFAULT_COSTS } from '../../scenario.ts'

const ms = z.number().min(0)
const positive = z.number().positive()
const count = z.int().min(1)

const calibrationSchema = z.strictObject({
  format: z.literal('gensyn-calibration').describe('What this file is.'),
  version: z.literal(1).describe("Version of the file's layout."),
  costMs: z
    .record(z.enum(Object.keys(DEFAULT_COSTS) as (keyof Costs)[]), ms)
    .describe(
      'Milliseconds of each thing that a stage does, alone on the machine; build: until it can.',
    ),
  link: z
    .strictObject({ latencyMs: ms, bytesPerMs: positive })
    .describe('The loopback, without what its ends compute.'),
  cores: positive.describe(
    'What all cores get done together, as a multiple of one alone; less than their number where they slow each other down.',
  ),
  messageMs: z
    .strictObject({
      each: ms.describe('Of every message, a question or an answer, at either end.'),
      perMegabyte: ms.describe('Of a million bytes of its body, at either end.'),
    })
    .describe('Processor time of messages.'),
  shape: z
    .strictObject({
      hiddenSize: count,
      intermediateSize: count,
      layersAStage: count,
      vocabSize: count,
      batch: count,
      context: count,
      keep: z.string(),
      wire: z.string(),
    })
    .describe('Of the run that was measured: the figures hold for no other.'),
  machine: z.strictObject({
    processor: z.string(),
    cores: count,
    system: z.string(),
    node: z.string(),
    provider: z.string(),
    threads: count.describe('Of a stage.'),
  }),
})

export type Calibration = z.output<typeof calibrationSchema>

/** Shape of a run: the settings that its costs depend on. */
export function shapeOf({ model, stages, microbatch, keep, wire }: Run): Calibration['shape'] {
  const { hiddenSize, intermediateSize, layers, vocabSize } = model
  const layersAStage = layers / stages
  return { hiddenSize, intermediateSize, layersAStage, vocabSize, ...microbatch, keep, wire }
}

/** @throws InputError if the file cannot be written */
export function writeCalibration(path: string, calibration: Calibration): void {
  try {
    replaceFile(path, `${JSON.stringify(calibration, null, 2)}\n`)
  } catch (error) {
    throw new InputError(
      `${path} cannot be written (${systemCode(error)}). Choose another place for it.`,
    )
  }
}

/**
 * Reads a calibration and checks that it fits the run.
 * @param run run that the calibration will simulate
 * @throws InputError if the file is missing, is no calibration, or was measured for another shape
 */
export function readCalibration(path: string, run: Run): Calibration {
  const remedy = 'Measure one with `gensyn-node bench`.'
  let written: unknown
  try {
    written = JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    const what = systemCode(error) ?? (error as Error).message
    throw new InputError(`The calibration ${path} cannot be read (${what}). ${remedy}`)
  }
  const { data, error } = calibrationSchema.safeParse(written)
  if (error !== undefined) {
    throw new InputError(`${path} is no calibration: ${z.prettifyError(error)}\n${remedy}`)
  }
  const wanted = shapeOf(run)
  for (const [name, value] of Object.entries(wanted)) {
    const measured = data.shape[name as keyof typeof wanted]
    if (measured === value) continue
    throw new InputError(
      `${path} was measured for ${name} ${measured}, this run has ${value}. ${remedy}`,
    )
  }
  return data
}
