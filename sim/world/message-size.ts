/**
 * The bytes that a message counts in virtual time. This file is the one place for the rule.
 *
 * The rule: a message counts by its shape, never by its digits. Two processors round a float differently, so the digits
 * of a loss or a norm differ in their number and deflate differently. Virtual time would shift with them, and a history
 * would no longer be a function of its seed.
 *
 * | part of a message                | bytes                                                              |
 * |----------------------------------|--------------------------------------------------------------------|
 * | number, true, false, null        | 4                                                                  |
 * | string, name of a member         | its UTF-8 bytes and two quotes; names are ASCII                    |
 * | rest of a header                 | the punctuation of JSON without spaces                             |
 * | header that is never made text   | 256                                                                |
 * | body of tensors or files         | its length times the network's `bodyScale`                         |
 * | body of deflated JSON            | a quarter of what the JSON counts                                  |
 * | body with a part of a plan       | its length: integers, and losses of 16 bytes each                  |
 *
 * Strings count as they are: peers, addresses and digests have a length of their own, and no text of the node quotes a
 * computed float. `test/sim/shaken.test.ts` fails where one does.
 */
import { inflateRawSync } from 'node:zlib'
import { install } from '../../protocols/agreement.ts'
import type { ProtocolError } from '../../protocols/errors.ts'
import { PREFIX_BYTES } from '../../protocols/frame.ts'
import { roster } from '../../protocols/membership.ts'
import type { Message } from '../../protocols/network.ts'
import { evaluate, prepare } from '../../protocols/step.ts'
import type { Load } from './wire.ts'

/** As a float32 has, and about as many as the digits of steps, ids and epochs. */
const SCALAR_BYTES = 4

/** A header that is handed over as an object: its text would cost more time than all the rest of the message. */
const SHARED_HEADER_BYTES = 256

/** Rosters of 8 to 1,000 members deflate to between 0.12 and 0.35 of their JSON. */
const DEFLATED_SHARE = 1 / 4

/** Procedures whose bodies are deflated JSON. */
const DEFLATED: ReadonlySet<string> = new Set([roster.protocol, install.protocol])

/** Procedures whose bodies have a part of a step's plan, or losses. */
const PLANS: ReadonlySet<string> = new Set([prepare.protocol, evaluate.protocol])

export interface SizeOptions {
  /** Headers are handed over as objects. */
  readonly shareHeaders: boolean
  /** Bytes that one byte of a tensor counts: more than 1 where small tensors stand for large ones. */
  readonly bodyScale: number
}

/** What `message` puts on the wire as a question or an answer of `protocol`. */
export function loadOf(protocol: string, message: Message, options: SizeOptions): Load {
  const { header, body } = message
  const headerBytes = options.shareHeaders ? SHARED_HEADER_BYTES : jsonBytes(header)
  return {
    headBytes: PREFIX_BYTES + headerBytes,
    bodyBytes: body && bodyBytes(protocol, body, options.bodyScale),
  }
}

/** What an error puts on the wire instead of an answer. */
export function errorLoad({ code, message }: ProtocolError): Load {
  return { headBytes: PREFIX_BYTES + jsonBytes({ code, message }), bodyBytes: undefined }
}

/** What a JSON value counts. */
export function jsonBytes(value: unknown): number {
  if (typeof value === 'string') return Buffer.byteLength(value) + 2
  if (typeof value !== 'object' || value === null) return SCALAR_BYTES
  // The opening bracket; each member brings a comma or the closing bracket.
  let bytes = 1
  if (Array.isArray(value)) {
    for (const item of value) bytes += jsonBytes(item) + 1
  } else {
    for (const name in value) {
      const member = (value as Record<string, unknown>)[name]
      if (member !== undefined) bytes += name.length + jsonBytes(member) + 4
    }
  }
  return Math.max(bytes, 2)
}

/** What a file of JSON counts. */
export function jsonFileBytes(content: Uint8Array): number {
  return jsonBytes(JSON.parse(new TextDecoder().decode(content)))
}

/** What the body of a question or an answer of `protocol` counts. */
export function bodyBytes(protocol: string, body: Uint8Array, bodyScale = 1): number {
  if (DEFLATED.has(protocol)) return deflatedBytes(body)
  return PLANS.has(protocol) ? body.length : body.length * bodyScale
}

/** By body: a roster goes to all members as one object. */
const known = new WeakMap<Uint8Array, number>()

function deflatedBytes(body: Uint8Array): number {
  let bytes = known.get(body)
  if (bytes === undefined) {
    bytes = Math.ceil(inflatedBytes(body) * DEFLATED_SHARE)
    known.set(body, bytes)
  }
  return bytes
}

/** A body that does not inflate to JSON is refused by its receiver. It counts as if it had been deflated. */
function inflatedBytes(body: Uint8Array): number {
  try {
    return jsonFileBytes(inflateRawSync(body))
  } catch {
    return body.length / DEFLATED_SHARE
  }
}
