/** `gensyn-node import` on the command line. */
import type { Command } from 'commander'
import {
  type CommandContext,
  command,
  settingsIn,
  withPreparing,
  withSettings,
} from '../command-options.ts'

/** The checkpoint decides these. */
const OF_MODEL = ['vocab', 'layers', 'hidden', 'intermediate', 'heads', 'kvHeads'] as const

export function importCommand(all: Command, { terminal }: CommandContext): void {
  const description =
    "write the manifest of a run that starts from a Llama in Hugging Face's layout"
  withPreparing(withSettings(command(all, 'import', description), { except: OF_MODEL }))
    .argument('<folder>', 'folder with config.json, safetensors files and tokenizer.json')
    .option('--out <file>', 'file for the manifest', 'run.json')
    .option('--force', 'replace an existing manifest', false)
    .action(async (folder: string, { out, data, force, endOfText, field, ...options }) => {
      const { importRun } = await import('../import.ts')
      const { runId } = await import('../../run/run.ts')
      const settings = settingsIn(options)
      const run = await importRun({ folder, out, data, force, endOfText, field, settings })
      const tensors = Object.keys(run.initial!.tensors).length
      terminal.event({ type: 'imported', path: out, run: runId(run), stages: run.stages, tensors })
      terminal.line(
        `${out}: run ${runId(run).slice(0, 12)} from ${folder}, ${tensors} tensors, ${run.stages} body stages. ` +
          `Start ${run.stages + 1} peers with \`gensyn-node join --stage auto\`.`,
      )
    })
}
