/** A Llama as one ONNX graph for inference: input_ids [batch, sequence] -> logits [batch, sequence, vocabulary]. */
import { headSizeOf, type ModelConfig } from '../model.ts'
import { EMBEDDING, headName } from '../parameters.ts'
import { frequencies } from '../rope.ts'
import { OnnxBuilder, weightBytes } from './onnx-builder.ts'
import type { ModelTensor, PlannedFile } from './piece.ts'

/**
 * Largest weights within the model, in bytes. Larger weights are in a file beside it, since a protocol buffer has at most 2
 * GiB.
 */
const INLINE_BYTES_MAX = 1.9e9

const LAST: Record<string, readonly ['int', number]> = { axis: ['int', -1] }
/** Number of float32 in ONNX. */
const FLOAT = 1

/** @param inlineBytesMax weights with more bytes get a file of their own */
export function planOnnx(
  model: ModelConfig,
  tensors: readonly ModelTensor[],
  inlineBytesMax = INLINE_BYTES_MAX,
): PlannedFile[] {
  const builder = new OnnxBuilder()
  const weights = new Map(tensors.map((tensor) => [tensor.name, tensor]))
  new Llama(builder, model, (name) => builder.weight(weights.get(name)!)).build()
  const external = weightBytes(tensors) > inlineBytesMax ? 'model.onnx_data' : undefined
  const { model: pieces, data } = builder.build(external)
  const file = { name: 'model.onnx', pieces }
  return external === undefined ? [file] : [file, { name: external, pieces: data }]
}

/** Values that all layers share. */
interface Positions {
  readonly cosine: string
  readonly sine: string
  readonly mask: string
  readonly queries: string
  readonly keys: string
}

/** Builds the graph. Activations are matrices [batch * sequence, hidden], so that products use the stored weights. */
class Llama {
  readonly #onnx: OnnxBuilder
  readonly #model: ModelConfig
  readonly #weight: (name: string) => string
  readonly #headSize: number

  constructor(onnx: OnnxBuilder, model: ModelConfig, weight: (name: string) => string) {
    this.#onnx = onnx
    this.#model = model
    this.#weight = weight
    this.#headSize = headSizeOf(model)
  }

  build(): void {
    const { vocabSize, hiddenSize, layers } = this.#model
    const onnx = this.#onnx
    const tokens = onnx.input('input_ids', 'int64', ['batch', 'sequence'])
    const shape = onnx.add('Shape', [tokens])
    const embedded = onnx.add('Gather', [this.#weight(EMBEDDING), tokens])
    let x = onnx.add('Reshape', [embedded, onnx.integers([-1, hiddenSize])])
    const shared = this.#positions(shape)
    for (let i = 0; i < layers; i++) x = this.#layer(`model.layers.${i}.`, shared, x)
    const top = this.#norm(x, 'model.norm.weight')
    const logits = this.#project(top, headName(this.#model))
    const whole = onnx.add('Concat', [shape, onnx.integers([vocabSize])], { axis: ['int', 0] })
    const shaped = onnx.add('Reshape', [logits, whole])
    onnx.output('logits', 'float32', ['batch', 'sequence', vocabSize], shaped)
  }

  /** Angles of rotary embedding [sequence, head size / 2], the mask [sequence, sequence], shapes of heads. */
  #positions(shape: string): Positions {
    const onnx = this.#onnx
    const { heads, keyValueHeads } = this.#model
    const scalar = (value: number) => onnx.constant(BigInt64Array.of(BigInt(value)))
    const length = onnx.add('Gather', [shape, scalar(1)])
    const row = onnx.add('Range', [scalar(0), length, scalar(1)])
    const column = onnx.add('Unsqueeze', [row, onnx.integers([1])])
    const turns = onnx.add('Cast', [column], { to: ['int', FLOAT] })
    const each = Float32Array.from(frequencies(this.#model))
    const angles = onnx.add('Mul', [turns, onnx.constant(each, [1, each.length])])
    const later = onnx.add('Greater', [row, column])
    const split = (...sizes: number[]) =>
      onnx.add('Concat', [shape, onnx.integers(sizes)], { axis: ['int', 0] })
    return {
      cosine: onnx.add('Cos', [angles]),
      sine: onnx.add('Sin', [angles]),
      mask: onnx.add('Where', [later, onnx.float(Number.NEGATIVE_INFINITY), onnx.float(0)]),
      // Query heads that share a key head are adjacent.
      queries: split(keyValueHeads, heads / keyValueHeads, this.#headSize),
      keys: split(keyValueHeads, 1, this.#headSize),
    }
  }

  #layer(prefix: string, shared: Positions, x: string): string {
    const onnx = this.#onnx
    const normed = this.#norm(x, `${prefix}input_layernorm.weight`)
    /** [batch, key heads, queries of a key head, sequence, head size] */
    const heads = (name: string, shape: string) => {
      const projected = this.#project(normed, `${prefix}self_attn.${name}.weight`)
      return onnx.add('Transpose', [onnx.add('Reshape', [projected, shape])], {
        perm: ['ints', [0, 2, 3, 1, 4]],
      })
    }
    const queries = this.#rotate(heads('q_proj', shared.queries), shared)
    const keys = this.#rotate(heads('k_proj', shared.keys), shared)
    const values = heads('v_proj', shared.keys)
    const turned = onnx.add('Transpose', [keys], { perm: ['ints', [0, 1, 2, 4, 3]] })
    const scale = onnx.float(1 / Math.sqrt(this.#headSize))
    const scores = onnx.add('Mul', [onnx.add('MatMul', [queries, turned]), scale])
    const weights = onnx.add('Softmax', [onnx.add('Add', [scores, shared.mask])], LAST)
    const mixed = onnx.add('Transpose', [onnx.add('MatMul', [weights, values])], {
      perm: ['ints', [0, 3, 1, 2, 4]],
    })
    const width = this.#model.heads * this.#headSize
    const flat = onnx.add('Reshape', [mixed, onnx.integers([-1, width])])
    const attended = this.#project(flat, `${prefix}self_attn.o_proj.weight`, x)
    const inner = this.#norm(attended, `${prefix}post_attention_layernorm.weight`)
    const gate = this.#project(inner, `${prefix}mlp.gate_proj.weight`)
    const silu = onnx.add('Mul', [gate, onnx.add('Sigmoid', [gate])])
    const gated = onnx.add('Mul', [silu, this.#project(inner, `${prefix}mlp.up_proj.weight`)])
    return this.#project(gated, `${prefix}mlp.down_proj.weight`, attended)
  }

  /** Rotates the feature pairs (i, i + d/2) by the angles of their positions. */
  #rotate(x: string, { cosine, sine }: Positions): string {
    const onnx = this.#onnx
    const [low, high] = onnx.addAll('Split', [x], 2, LAST) as [string, string]
    const times = (a: string, b: string) => onnx.add('Mul', [a, b])
    const first = onnx.add('Sub', [times(low, cosine), times(high, sine)])
    const second = onnx.add('Add', [times(high, cosine), times(low, sine)])
    return onnx.add('Concat', [first, second], LAST)
  }

  #norm(x: string, name: string): string {
    const onnx = this.#onnx
    const mean = onnx.add('ReduceMean', [onnx.add('Mul', [x, x])], { axes: ['ints', [-1]] })
    const shifted = onnx.add('Add', [mean, onnx.float(this.#model.rmsNormEps)])
    const normed = onnx.add('Div', [x, onnx.add('Sqrt', [shifted])])
    return onnx.add('Mul', [normed, this.#weight(name)])
  }

  /** x W^T, plus `residual`. */
  #project(x: string, name: string, residual?: string): string {
    const inputs = [x, this.#weight(name), ...(residual === undefined ? [] : [residual])]
    return this.#onnx.add('Gemm', inputs, { transB: ['int', 1] })
  }
}
