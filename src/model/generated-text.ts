import type { ModelTokenizer } from './tokenizer-files.ts'

/** Turns generated tokens into text, in whole characters. It gives out no part of a stop text. */
export class GeneratedText {
  /** Text given out so far. */
  text = ''
  readonly #tokenizer: ModelTokenizer
  readonly #stops: readonly string[]
  readonly #tokens: number[] = []
  #ended = false

  constructor(tokenizer: ModelTokenizer, stops: readonly string[]) {
    this.#tokenizer = tokenizer
    this.#stops = stops
  }

  /** True after a stop text was generated. */
  get stopped(): boolean {
    return this.#ended
  }

  /** Adds a token, and gives the text that can be shown now. */
  add(token: number): string {
    this.#tokens.push(token)
    const all = this.#decoded()
    const stop = this.#stops.map((text) => all.indexOf(text)).filter((at) => at >= 0)
    if (stop.length > 0) {
      this.#ended = true
      return this.#giveOut(all.slice(0, Math.min(...stop)))
    }
    return this.#giveOut(all.slice(0, all.length - this.#heldBack(all)))
  }

  /** Gives the text that was held back, after the last token. */
  finish(): string {
    return this.#ended ? '' : this.#giveOut(this.#decoded())
  }

  #giveOut(upTo: string): string {
    const fresh = upTo.slice(this.text.length)
    this.text += fresh
    return fresh
  }

  #decoded(): string {
    return Buffer.from(this.#tokenizer.decode(this.#tokens)).toString()
  }

  /** Number of UTF-16 units at the end that may become another character, or are the beginning of a stop text. */
  #heldBack(all: string): number {
    const incomplete = /\ufffd+$/.exec(all)?.[0].length ?? 0
    const beginnings = this.#stops.map((stop) => {
      for (let length = Math.min(stop.length - 1, all.length); length > 0; length--) {
        if (all.endsWith(stop.slice(0, length))) return length
      }
      return 0
    })
    return Math.max(incomplete, ...beginnings)
  }
}
