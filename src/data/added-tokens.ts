/** Tokens that are found in the text itself before anything else looks at it, as `<|endoftext|>` is. */
import { z } from 'zod'

export const addedTokenSchema = z.looseObject({
  id: z.int().nonnegative(),
  content: z.string().min(1),
  single_word: z.boolean().optional(),
  /** Takes the white space before it, or after it, in. */
  lstrip: z.boolean().optional(),
  rstrip: z.boolean().optional(),
  /** Looked for in the normalized text, in its own normalized form. */
  normalized: z.boolean().optional(),
  special: z.boolean().optional(),
})

export type AddedToken = z.infer<typeof addedTokenSchema>

/** A stretch of text between added tokens, or one of them. */
export interface Section {
  readonly token: AddedToken | null
  readonly text: string
  /** Where it begins. */
  readonly start: number
}

/** What to look for, longest first: of several that fit at one place the longest counts. */
export interface Search {
  readonly pattern: RegExp
  readonly tokens: ReadonlyMap<string, AddedToken>
}

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

/** Empty stretches are left out. */
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
