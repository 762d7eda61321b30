/** Cuts a text that is read in chunks into parts, which are tokenized one after another. */
import { InputError } from '../base/errors.ts'
import { endOfPart, type Part } from './cut.ts'

/**
 * Cuts a text into parts.
 * @param name name of the text, for messages
 * @param bytes true for parts of bytes in any encoding; false to decode UTF-8
 * @throws InputError if the text is not UTF-8
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

/** Makes a decoder of UTF-8 for a stream. The decoder throws an InputError that names the text if it is not UTF-8. */
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
        `${name} is not UTF-8, somewhere after byte ${done}: convert it, or use the tokenizer \`bytes\`.`,
      )
    }
  }
}
