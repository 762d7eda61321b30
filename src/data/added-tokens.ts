/** Added tokens, such as `<|endoftext|>`: they are searched for in the text before it is tokenized otherwise. */
import { z } from 'zod'

/** An added token, as tokenizer.json describes it. */
export const addedTokenSchema = z.looseObject({
  id: z.int().nonnegative(),
  content: z.string().min(1),
  single_word: z.boolean().optional(),
  /** `lstrip` and `rstrip`: the token includes the white space before it, or after it. */
  lstrip: z.boolean().optional(),
  rstrip: z.boolean().optional(),
  /** True if the token is searched for after normalization, in its normalized form. */
  normalized: z.boolean().optional(),
  special: z.boolean().optional(),
})

export type AddedToken = z.infer<typeof addedTokenSchema>

/** A part of a text: an added token, or the text between two of them. */
export interface Section {
  readonly token: AddedToken | null
  readonly text: string
  /** Index of its first UTF-16 unit in the whole text. */
  readonly start: number
}

/** A search for added tokens. If several tokens match at one position, the longest one is taken. */
export interface Search {
  readonly pattern: RegExp
  readonly tokens: ReadonlyMap<string, AddedToken>
}

/** Makes the searches in the raw text and in the normalized text; null where there is nothing to search for. */
export function addedTokens(
  tokens: readonly AddedToken[],
  normalize: ((text: string) => string) | null,
): { readonly raw: Search | null; readonly normalized: Search | null } {
  const isNormalized = (token: AddedToken) =>
    normalize !== null && (token.normalized ?? !(token.special ?? false))
  return {
    raw: searchFor(tokens.filter((token) => !isNormalized(token)).map((t) => [t.content, t])),
    normalized: searchFor(
      tokens.filter(isNormalized).map((t): [string, AddedToken] => [normalize!(t.content), t]),
    ),
  }
}

function searchFor(entries: [string, AddedToken][]): Search | null {
  const found = new Map(entries.filter(([content]) => content !== ''))
  if (found.size === 0) return null
  const alternatives = [...found.keys()]
    .sort((a, b) => b.length - a.length)
    .map((content) => content.replace(/[.*+?^${}()|[\]\\/]/g, String.raw`\$&`))
  return { pattern: new RegExp(alternatives.join('|'), 'g'), tokens: found }
}

/** Splits a text at its added tokens. Empty sections are left out. */
export function split(text: string, search: Search | null): Section[] {
  if (search === null) return text === '' ? [] : [{ token: null, text, start: 0 }]
  const sections: Section[] = []
  let done = 0
  const plain = (end: number) => {
    if (end > done) sections.push({ token: null, text: text.slice(done, end), start: done })
  }
  for (const { 0: content, index } of text.matchAll(search.pattern)) {
    if (index < done) continue
    const token = search.tokens.get(content)!
    let start = index
    let end = index + content.length
    if (token.lstrip) start = Math.max(done, text.slice(0, index).trimEnd().length)
    if (token.rstrip) end = text.length - text.slice(end).trimStart().length
    plain(start)
    sections.push({ token, text: text.slice(start, end), start })
    done = end
  }
  plain(text.length)
  return sections
}
