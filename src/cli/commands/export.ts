/** `gensyn-node export` on the command line. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import { DTYPES } from '../../../stages/formats/encodings.ts'
import { FORMATS } from '../../model/export.ts'
import { type CommandContext, command, withCheckpoint } from '../command-options.ts'

const UNITS: Readonly<Record<string, number>> = { '': 1, MB: 1e6, GB: 1e9 }

export function exportCommand(all: Command, { terminal }: CommandContext): void {
  withCheckpoint(
    command(all, 'export', 'write the trained weights in a format that other programs read'),
  )
    .addOption(
      new Option('--format <format>', 'file format').choices([...FORMATS]).makeOptionMandatory(),
    )
    .requiredOption('--out <path>', 'new folder; with gguf a new file')
    .addOption(
      new Option('--dtype <dtype>', 'element type of the weights')
        .choices([...DTYPES])
        .default('float32'),
    )
    .option(
      '--shard-size <size>',
      'maximum size of a safetensors file, such as 500MB',
      bytesOf,
      5e9,
    )
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
