/** Text from tokens as they come: whole characters only, and nothing of a stop text. */
import type { ModelTokenizer } from './tokenizer-files.ts'

export class GeneratedText {
  /** All that has been given out. */
  text = ''
  readonly #tokenizer: ModelTokenizer
  readonly #stops: readonly string[]
  readonly #tokens: number[] = []
  #ended = false

  constructor(tokenizer: ModelTokenizer, stops: readonly string[]) {
    this.#tokenizer = tokenizer
    this.#stops = stops
  }

  /** True once a stop text has come. */
  get stopped(): boolean {
    return this.#ended
  }

  /** What may be shown now that this token has come. */
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

  /** What was held back: no more tokens come. */
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

  /** UTF-16 units at the end that may become another character, or the beginning of a stop text. */
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
