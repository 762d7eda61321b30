/** `gensyn-node bench`: measures this machine for simulations. Names sim as commands/sim.ts does: loaded when it is called. */
import { availableParallelism } from 'node:os'
import { type Command, Option } from 'commander'
import { systemClock } from '../../../protocols/clock.ts'
import { type CommandContext, command, positiveNumber } from '../command-options.ts'

export function benchCommand(all: Command, { terminal }: CommandContext): void {
  command(
    all,
    'bench',
    'measure this machine for a run, so that simulations of it take the time that it takes',
  )
    .option('--run <file>', 'its manifest', 'run.json')
    .option('--out <file>', 'where the figures go', 'calibration.json')
    .addOption(
      new Option('--provider <provider>', 'what computes')
        .choices(['auto', 'cpu', 'cuda', 'webgpu'])
        .default('auto'),
    )
    .option(
      '--threads <count>',
      'of a stage, as `join` will have',
      positiveNumber,
      availableParallelism(),
    )
    .action(async (options) => {
      const { bench } = await import('../../../sim/lab/calibration/bench.ts')
      await bench(options, { terminal, clock: systemClock })
    })
}
