/** `gensyn-node tokenizer` on the command line. */
import type { Command } from 'commander'
import { type CommandContext, command, positiveNumber } from '../command-options.ts'

export function tokenizerCommand(all: Command, { terminal }: CommandContext): void {
  const tokenizer = all.command('tokenizer').description('make a tokenizer')
  command(tokenizer, 'train', "train a byte-level BPE tokenizer in Hugging Face's format")
    .argument('<sources...>', 'texts, JSON Lines, Parquet, folders or patterns')
    .option('--vocab-size <tokens>', 'size of the vocabulary', positiveNumber, 8192)
    .option('--out <file>', 'file for the tokenizer', 'tokenizer.json')
    .option('--force', 'replace an existing file', false)
    .option('--field <name>', 'field with the text, in JSON Lines and Parquet', 'text')
    .action(async (sources: string[], options) => {
      const { trainTokenizer } = await import('../../data/train-tokenizer.ts')
      const vocabSize = await trainTokenizer({ ...options, sources })
      terminal.event({ type: 'tokenizer', path: options.out, vocabSize })
      terminal.line(
        `${options.out}: ${vocabSize} tokens. ` +
          `Prepare texts with \`gensyn-node prepare ... --tokenizer ${options.out}\`.`,
      )
    })
}
