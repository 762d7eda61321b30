/** Implements `gensyn-node bench`, which measures this machine for a run and writes calibration.json. */
import type { Clock } from '../../../protocols/clock.ts'
import { InputError } from '../../../src/base/errors.ts'
import type { Terminal } from '../../../src/base/terminal.ts'
import { readRun } from '../../../src/run/run.ts'
import { chooseProvider, type Provider } from '../../../stages/provider.ts'
import { calibrate } from './calibrate.ts'
import { type Calibration, writeCalibration } from './calibration.ts'

export interface BenchOptions {
  readonly run: string
  readonly out: string
  readonly provider: Provider | 'auto'
  readonly threads: number
}

/**
 * Measures this machine and writes the calibration to `out`.
 * @throws InputError if the run cannot be read, the provider is unavailable, or `out` cannot be written
 */
export async function bench(
  { run: path, out, provider: wanted, threads }: BenchOptions,
  { terminal, clock }: { terminal: Terminal; clock: Clock },
): Promise<void> {
  const run = readRun(path)
  const { provider } = await chooseProvider(wanted).catch((error: Error) => {
    if (error.name !== 'ProviderError') throw error
    throw new InputError(error.message, { cause: error })
  })
  const calibration = await calibrate(run, { provider, threads }, clock)
  writeCalibration(out, calibration)
  terminal.event({ type: 'calibrated', path: out, ...calibration })
  terminal.line(`${sentenceOf(calibration)}; written to ${out}`)
}

/** Summary of a calibration for the terminal. */
export function sentenceOf({ costMs, cores, messageMs, link }: Calibration): string {
  const { forwardKeeping, backward, lossAndGradient, update } = costMs
  return [
    `a microbatch through a stage ${rounded(forwardKeeping)} ms and back ${rounded(backward)} ms, its loss ${rounded(lossAndGradient)} ms, an update ${rounded(update)} ms`,
    `all cores together as good as ${rounded(cores)}`,
    `a message ${rounded(messageMs.each)} ms at either end and ${rounded(messageMs.perMegabyte)} ms a megabyte`,
    `the loopback ${rounded(link.latencyMs)} ms and ${rounded(link.bytesPerMs / 1000)} MB/s`,
  ].join('; ')
}

/** Number with three significant digits. */
export function rounded(value: number): string {
  return String(Number(value.toPrecision(3)))
}
