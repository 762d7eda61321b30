/** `gensyn-node export` on the command line. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import { DTYPES } from '../../../stages/formats/encodings.ts'
import { FORMATS } from '../../model/export.ts'
import { type CommandContext, command, withCheckpoint } from '../command-options.ts'

const UNITS: Readonly<Record<string, number>> = { '': 1, MB: 1e6, GB: 1e9 }

export function exportCommand(all: Command, { terminal }: CommandContext): void {
  withCheckpoint(command(all, 'export', 'the trained weights, as other programs read them'))
    .addOption(
      new Option('--format <format>', 'of whom').choices([...FORMATS]).makeOptionMandatory(),
    )
    .requiredOption('--out <path>', 'a folder that is not there yet; with gguf a file')
    .addOption(
      new Option('--dtype <dtype>', 'of the weights').choices([...DTYPES]).default('float32'),
    )
    .option('--shard-size <size>', 'of a safetensors file at most, as in 500MB', bytesOf, 5e9)
    .action(async ({ shardSize, ...options }) => {
      const { exportModel } = await import('../../model/export.ts')
      const exported = await exportModel({ ...options, shardBytes: shardSize })
      terminal.event({ type: 'exported', path: options.out, ...exported })
      const { step, tensors, bytes } = exported
      const when = step === null ? '' : `, after step ${step}`
      terminal.line(`${options.out}: ${tensors} tensors, ${bytes} bytes${when}`)
    })
}

function bytesOf(text: string): number {
  const [, number, unit] = /^(\d+)(MB|GB|)$/.exec(text) ?? []
  const bytes = Number(number) * UNITS[unit ?? '']!
  if (!(bytes > 0)) throw new InvalidArgumentError('a size like 500MB or 5GB is needed.')
  return bytes
}
