/**
 * Long documents in parts: what is tokenized at once stays small, and each part is held out or trained on by itself. A
 * cut between a letter and ` letter` changes no token: no tokenizer that is supported looks across it.
 */

/** UTF-16 units, or bytes: a part is cut at the last good place before it. */
export const PART = 8 * 1024
/** So far a good place is looked for; scripts without spaces have none. */
const FARTHEST = 8 * PART

const SPACE = 0x20
const NEWLINE = 0x0a
const LETTER = /^\p{L}$/u

/** A part of a document. */
export interface Part {
  readonly data: string | Uint8Array
  /** It goes on where the part before it was cut. */
  readonly continues: boolean
  /** The document ends with it. */
  readonly last: boolean
}

/**
 * Where the first part of `text` ends: its whole length if that is little.
 * @param more there is more of the document behind `text`; 0 then says that more is needed to decide
 */
export function endOfPart(text: string | Uint8Array, from: number, more: boolean): number {
  const length = text.length - from
  if (length <= PART && !more) return text.length
  const farthest = Math.min(text.length - 1, from + FARTHEST)
  if (more && length <= FARTHEST + 1) return 0
  const isGood = typeof text === 'string' ? isBetweenWords : isSpace
  for (let i = Math.min(from + PART, farthest); i > from; i--) if (isGood(text, i)) return i
  for (let i = from + PART; i <= farthest; i++) if (isGood(text, i)) return i
  if (!more && length <= FARTHEST) return text.length
  for (let i = farthest; i > from + 1; i--) if (unitAt(text, i - 1) === NEWLINE) return i
  return splitsCharacter(text, farthest) ? farthest - 1 : farthest
}

/** The parts of a document that is whole in memory. */
export function* partsOf(text: string): Generator<Part> {
  let from = 0
  do {
    const end = endOfPart(text, from, false)
    yield { data: text.slice(from, end), continues: from > 0, last: end === text.length }
    from = end
  } while (from < text.length)
}

function unitAt(text: string | Uint8Array, index: number): number {
  return typeof text === 'string' ? text.charCodeAt(index) : text[index]!
}

function isSpace(text: string | Uint8Array, index: number): boolean {
  return unitAt(text, index) === SPACE
}

function isBetweenWords(text: string | Uint8Array, index: number): boolean {
  const letter = (i: number) => LETTER.test(String.fromCharCode(unitAt(text, i)))
  return isSpace(text, index) && letter(index - 1) && letter(index + 1)
}

function splitsCharacter(text: string | Uint8Array, index: number): boolean {
  const unit = unitAt(text, index)
  return typeof text === 'string' ? unit >= 0xdc00 && unit < 0xe000 : (unit & 0xc0) === 0x80
}
