/**
 * Cuts long documents into parts. A part is tokenized at once, and is held out or trained on as a whole. A cut between a
 * letter and a space with a letter after it changes no token: no supported tokenizer has a token across it.
 */

/** Size of a part, in UTF-16 units or bytes. A part is cut at the last good position before this size. */
export const PART = 8 * 1024
/** Distance up to which a good position is searched for. Scripts without spaces have no good position. */
const FARTHEST = 8 * PART

const SPACE = 0x20
const NEWLINE = 0x0a
const LETTER = /^\p{L}$/u

/** A part of a document. */
export interface Part {
  readonly data: string | Uint8Array
  /** True if the part follows a cut, false if it is the first part of its document. */
  readonly continues: boolean
  /** True for the last part of the document. */
  readonly last: boolean
}

/**
 * Finds the end of the part that starts at `from`. A short rest is one part.
 * @param more true if the document continues after `text`
 * @returns index of the end; 0 if more text is needed to decide
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

/** Cuts a document that is in memory as a whole. */
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
