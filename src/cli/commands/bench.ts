/** `gensyn-node bench`: measures this machine for simulations. Imports `sim/` only when the command is called. */
import { availableParallelism } from 'node:os'
import { type Command, Option } from 'commander'
import { systemClock } from '../../../protocols/clock.ts'
import { type CommandContext, command, positiveNumber } from '../command-options.ts'

export function benchCommand(all: Command, { terminal }: CommandContext): void {
  command(
    all,
    'bench',
    'measure the speed of this machine for a run, so that simulations can predict its time',
  )
    .option('--run <file>', 'manifest of the run', 'run.json')
    .option('--out <file>', 'file for the measurements', 'calibration.json')
    .addOption(
      new Option('--provider <provider>', 'what computes the stages')
        .choices(['auto', 'cpu', 'cuda', 'webgpu'])
        .default('auto'),
    )
    .option(
      '--threads <count>',
      'threads of a stage, as with `join`',
      positiveNumber,
      availableParallelism(),
    )
    .action(async (options) => {
      const { bench } = await import('../../../sim/lab/calibration/bench.ts')
      await bench(options, { terminal, clock: systemClock })
    })
}
