/** `gensyn-node prepare`. */
import { type Command, InvalidArgumentError } from 'commander'
import { type CommandContext, command, withTokenizer } from '../command-options.ts'

export function prepareCommand(all: Command, { terminal }: CommandContext): void {
  const prepare = command(all, 'prepare', 'tokenize texts into a dataset for `init --data`')
    .argument('<sources...>', 'texts, JSON Lines, Parquet, folders or patterns; each is one source')
    .option('--out <folder>', 'folder for the dataset', 'dataset')
    .option('--force', 'replace an existing dataset', false)
    .option(
      '--weights <numbers>',
      'shares of the sources, such as 3,1 (default: by number of tokens)',
      shares,
    )
    .option(
      '--held-out <fraction>',
      'share of the documents that is kept for evaluation',
      fraction,
      0.05,
    )
  withTokenizer(prepare).action(async (sources: string[], options) => {
    const { prepare } = await import('../../data/prepare.ts')
    const { textBytes } = await import('../../data/dataset.ts')
    const { tokenizer = 'bytes', field = 'text', out } = options
    const made = await prepare({
      ...options,
      tokenizer,
      field,
      sources,
      onFile: ({ path, bytes }) => {
        terminal.event({ type: 'prepared-file', path, bytes })
        terminal.line(`${path}: ${bytes} bytes`)
      },
    })
    made.keep()
    const { dataset, sha256 } = made
    const bytes = textBytes(dataset)
    terminal.event({
      type: 'prepared',
      path: out,
      sha256,
      bytes,
      vocabSize: dataset.tokenizer.vocabSize,
    })
    for (const { name, weight, train, heldOut } of dataset.sources) {
      terminal.line(
        `${name}: ${train.tokens} tokens of ${train.documents} documents to train on (${(100 * weight).toFixed(1)} % ` +
          `of each step), ${heldOut.tokens} of ${heldOut.documents} held out`,
      )
    }
    terminal.line(
      `${out}: ${bytes} bytes of text, ${dataset.tokenizer.vocabSize} tokens in the vocabulary. ` +
        `Train on it with \`gensyn-node init --data ${out}\`.`,
    )
  })
}

function shares(text: string): number[] {
  const numbers = text.split(',').map(Number)
  if (numbers.every((number) => Number.isFinite(number) && number > 0)) return numbers
  throw new InvalidArgumentError('numbers above 0 are needed, with commas between.')
}

function fraction(text: string): number {
  const value = Number(text)
  if (text.trim() !== '' && value >= 0 && value < 1) return value
  throw new InvalidArgumentError('a number from 0 to below 1 is needed.')
}
