/** The sentences of a Markdown page, for those that count their words. */

/** Words after which a full stop ends no sentence. */
const ABBREVIATION = /\b(e\.g|i\.e|etc|vs|cf|al|No|Fig|Sec|S)\.$/

/**
 * Sentences of headings' texts, paragraphs, list items and cells of tables.
 * Code blocks and comments are no text; a code span counts as one word.
 */
export function sentencesOf(page: string): string[] {
  const text = page
    .replace(/^(```|~~~)[\s\S]*?^\1/gm, '\n\n')
    .replace(/<!--[\s\S]*?-->/g, '')
    .replace(/`[^`]+`/g, 'code')
    .replace(/!?\[([^\]]*)\]\([^)]*\)/g, '$1')
  return blocksOf(text).flatMap(splitBlock)
}

/** Number of words: what stands between blanks and has a letter or a digit. */
export function wordsIn(sentence: string): number {
  return sentence.split(/\s+/).filter((word) => /[\p{L}\p{N}]/u.test(word)).length
}

/** Paragraphs, list items, headings and cells of tables, each on one line. */
function blocksOf(text: string): string[] {
  const blocks: string[] = ['']
  for (const line of text.split('\n')) {
    if (line.trim() === '') blocks.push('')
    else if (/^\s*\|/.test(line)) blocks.push(...line.split('|'), '')
    else if (/^\s*(#|[-*+] |\d+[.)] |>)/.test(line)) blocks.push(line)
    else blocks.push(`${blocks.pop()} ${line}`)
  }
  return blocks.map((block) => block.trim()).filter((block) => block !== '')
}

function splitBlock(block: string): string[] {
  const sentences: string[] = []
  let rest = ''
  for (const part of block.split(/(?<=[.!?][)"'*_]*)\s+/)) {
    rest = rest === '' ? part : `${rest} ${part}`
    if (ABBREVIATION.test(rest)) continue
    sentences.push(rest)
    rest = ''
  }
  return rest === '' ? sentences : [...sentences, rest]
}
