/** A text that is read chunk by chunk, in parts that may be tokenized one after another. */
import { InputError } from '../base/errors.ts'
import { endOfPart, type Part } from './cut.ts'

/**
 * @param name of the text, for messages
 * @param bytes the parts are bytes, in whatever encoding the text is; else it must be UTF-8
 * @throws InputError if it is not
 */
export async function* textParts(
  chunks: AsyncIterable<Uint8Array>,
  name: string,
  bytes: boolean,
): AsyncGenerator<Part> {
  const decoder = utf8Of(name)
  let rest: string | Uint8Array = bytes ? new Uint8Array() : ''
  let continues = false
  for await (const chunk of chunks) {
    rest = typeof rest === 'string' ? rest + decoder(chunk, true) : Buffer.concat([rest, chunk])
    let from = 0
    for (let end = endOfPart(rest, 0, true); end > 0; end = endOfPart(rest, from, true)) {
      yield { data: rest.slice(from, end), continues, last: false }
      continues = true
      from = end
    }
    rest = rest.slice(from)
  }
  if (typeof rest === 'string') rest += decoder(new Uint8Array(), false)
  let from = 0
  do {
    const end = endOfPart(rest, from, false)
    yield { data: rest.slice(from, end), continues, last: end === rest.length }
    continues = true
    from = end
  } while (from < rest.length)
}

/** Decodes a stream, and says in which text it is not UTF-8. */
export function utf8Of(name: string): (bytes: Uint8Array, more: boolean) => string {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  let done = 0
  return (bytes, more) => {
    try {
      const text = decoder.decode(bytes, { stream: more })
      done += bytes.length
      return text
    } catch {
      throw new InputError(
        `${name} is not UTF-8, somewhere from byte ${done}: convert it, or take a tokenizer of bytes.`,
      )
    }
  }
}
