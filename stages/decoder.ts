/**
 * Incremental decoding of a Llama with a cache of keys and values. Graphs are static, so the cache has spare capacity, which is
 * masked. The capacity doubles when it is full.
 */
import { rotaryTables } from './attention.ts'
import { embedProgram, layerProgram, logitsProgram, scoreProgram } from './decode-programs.ts'
import type { Graph } from './graph.ts'
import { headSizeOf, type ModelConfig } from './model.ts'
import { encodeModel } from './onnx.ts'
import { createSession, type Session, type SessionOptions, tensor } from './session.ts'
import { sizeOf } from './shape.ts'

/** Tokens of a chunk: enough for wide products, and few enough for the memory of their scores. */
const CHUNK = 128
/** Least capacity of a cache, in tokens. */
const PAST_MIN = 128
/** Largest logits, in bytes. */
const LOGITS_MAX = 32 << 20

/** Keys and values of one layer: [1, heads, room, head size] each. */
interface Layer {
  keys: Float32Array
  values: Float32Array
}

/** Cache of keys and values of a sequence. */
export interface Past {
  /** Number of tokens in the cache. */
  length: number
  /** Capacity, in tokens. */
  room: number
  readonly layers: Layer[]
}

export type DecoderOptions = Pick<SessionOptions, 'provider' | 'threads'>

/** Decoder of one model. Each call must end before the next call. */
export class Decoder {
  readonly model: ModelConfig
  readonly #weight: (name: string) => Float32Array
  readonly #options: DecoderOptions
  readonly #programs = new Map<string, Program>()

  /**
   * @param weight returns a tensor by its Hugging Face name. The decoder calls it in every call and does not keep the tensor
   */
  constructor(model: ModelConfig, weight: (name: string) => Float32Array, options: DecoderOptions) {
    this.model = model
    this.#weight = weight
    this.#options = options
  }

  begin(): Past {
    const layers = Array.from({ length: this.model.layers }, () => ({
      keys: new Float32Array(0),
      values: new Float32Array(0),
    }))
    return { length: 0, room: 0, layers }
  }

  /** Appends tokens to the past. Returns the last layer's output, [tokens, hidden]. */
  async read(past: Past, tokens: Int32Array): Promise<Float32Array> {
    this.#check(tokens)
    const { hiddenSize } = this.model
    const output = new Float32Array(tokens.length * hiddenSize)
    for (let at = 0; at < tokens.length; ) {
      const rest = tokens.length - at
      // A few single tokens cost less than a chunk that is mostly padding.
      const size = rest >= CHUNK / 8 ? CHUNK : 1
      const count = Math.min(size, rest)
      const part = await this.#readChunk(past, tokens.subarray(at, at + count), size)
      output.set(part.subarray(0, count * hiddenSize), at * hiddenSize)
      at += count
    }
    return output
  }

  /** Logits [vocabulary] of the next token from a row [hidden] of the last layer's output. */
  async logits(row: Float32Array): Promise<Float32Array> {
    const logits = new Float32Array(this.model.vocabSize)
    const program = await this.#program('logits', () => logitsProgram(this.model, 1))
    await program.run({ input: row }, { logits }, this.#weight)
    return logits
  }

  /** The log-probability of each target, in nats. @param rows of the last layer's output, [targets, hidden] */
  async scores(rows: Float32Array, targets: Int32Array): Promise<Float32Array> {
    this.#check(targets)
    const { hiddenSize, vocabSize } = this.model
    const most = Math.max(1, Math.min(CHUNK, Math.floor(LOGITS_MAX / (4 * vocabSize))))
    const program = await this.#program('scores', () => scoreProgram(this.model, most))
    const all = new Float32Array(targets.length)
    for (let at = 0; at < targets.length; at += most) {
      const input = padded(rows.subarray(at * hiddenSize), most * hiddenSize)
      const chunk = new Int32Array(most)
      chunk.set(targets.subarray(at, at + most))
      const scores = new Float32Array(most)
      await program.run({ input, targets: chunk }, { scores }, this.#weight)
      all.set(scores.subarray(0, Math.min(most, targets.length - at)), at)
    }
    return all
  }

  async close(): Promise<void> {
    for (const { session } of this.#programs.values()) await session.release()
    this.#programs.clear()
  }

  /** @param size tokens of the program; results beyond the given tokens are discarded */
  async #readChunk(past: Past, tokens: Int32Array, size: number): Promise<Float32Array> {
    const { model } = this
    const count = tokens.length
    const given = new Int32Array(size)
    given.set(tokens)
    let x = new Float32Array(size * model.hiddenSize)
    const embedding = await this.#program(`embed ${size}`, () => embedProgram(model, size))
    await embedding.run({ tokens: given }, { output: x }, this.#weight)

    const before = past.length === 0 ? 0 : past.room
    const program = await this.#program(`layer ${size} ${before}`, () =>
      layerProgram(model, size, before),
    )
    const { cosine, sine } = rotaryTables(model, past.length, size)
    const mask = maskOf(past.length, before, size)
    const width = model.keyValueHeads * size * headSizeOf(model)
    const fresh: Layer[] = []
    for (const [i, { keys: pastKeys, values: pastValues }] of past.layers.entries()) {
      const output = new Float32Array(x.length)
      const made = { keys: new Float32Array(width), values: new Float32Array(width) }
      await program.run(
        { input: x, cosine, sine, mask, pastKeys, pastValues },
        { output, ...made },
        (name) => this.#weight(`model.layers.${i}.${name}`),
      )
      fresh.push(made)
      x = output
    }
    this.#append(past, fresh, count, size)
    return x
  }

  #append(past: Past, fresh: readonly Layer[], count: number, size: number): void {
    const headSize = headSizeOf(this.model)
    const needed = past.length + count
    let room = Math.max(past.room, PAST_MIN)
    while (room < needed) room *= 2
    for (const [i, layer] of past.layers.entries()) {
      for (const kind of ['keys', 'values'] as const) {
        const old = layer[kind]
        if (room !== past.room) {
          layer[kind] = new Float32Array(this.model.keyValueHeads * room * headSize)
        }
        for (let head = 0; head < this.model.keyValueHeads; head++) {
          const into = layer[kind].subarray(head * room * headSize)
          if (old !== layer[kind]) {
            const from = head * past.room * headSize
            into.set(old.subarray(from, from + past.length * headSize))
          }
          const from = head * size * headSize
          into.set(fresh[i]![kind].subarray(from, from + count * headSize), past.length * headSize)
        }
      }
    }
    past.room = room
    past.length = needed
  }

  async #program(key: string, build: () => Graph): Promise<Program> {
    const known = this.#programs.get(key)
    if (known !== undefined) return known
    const graph = build()
    const session = await createSession(encodeModel(graph), this.#options)
    const program = new Program(graph, session)
    this.#programs.set(key, program)
    return program
  }

  #check(tokens: Int32Array): void {
    const { vocabSize } = this.model
    const stray = tokens.find((token) => !(token >= 0 && token < vocabSize))
    if (stray !== undefined) throw new RangeError(`token ${stray} is not in 0..${vocabSize - 1}`)
  }
}

type Arrays = Readonly<Record<string, Float32Array | Int32Array>>

/** A compiled graph. Its inputs are fed values, and weights for all other names. */
class Program {
  readonly session: Session
  readonly #graph: Graph

  constructor(graph: Graph, session: Session) {
    this.#graph = graph
    this.session = session
  }

  async run(feeds: Arrays, outputs: Arrays, weight: (name: string) => Float32Array): Promise<void> {
    const inputs = this.#graph.inputs.map(({ name, shape }) => {
      const fed = feeds[name] ?? weight(name)
      return [name, tensor(fed.subarray(0, sizeOf(shape)), shape)]
    })
    const results = this.#graph.outputs.map(({ name, value }) => [
      name,
      tensor(outputs[name]!, value.shape),
    ])
    await this.session.runInto(Object.fromEntries(inputs), Object.fromEntries(results))
  }
}

/** Mask [size, room + size]. A token sees the used part of the past, and the tokens of its chunk up to itself. */
function maskOf(length: number, room: number, size: number): Float32Array {
  const mask = new Float32Array(size * (room + size)).fill(Number.NEGATIVE_INFINITY)
  for (let token = 0; token < size; token++) {
    const row = token * (room + size)
    mask.fill(0, row, row + Math.min(length, room))
    mask.fill(0, row + room, row + room + token + 1)
  }
  return mask
}

function padded(rows: Float32Array, length: number): Float32Array {
  if (rows.length >= length) return rows.subarray(0, length)
  const result = new Float32Array(length)
  result.set(rows)
  return result
}
