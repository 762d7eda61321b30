/** The flat buffers of a stage and what is done to them whole: norm, update, load. */
import type { OptimizerConfig } from './model.ts'
import { encodeModel } from './onnx.ts'
import { type AdamwScalars, adamwProgram, adamwScalars, sumOfSquaresProgram } from './optimizer.ts'
import type { Layout } from './parameters.ts'
import { WRITTEN } from './programs.ts'
import {
  createSession,
  type Session,
  type SessionOptions,
  type Tensors,
  tensor,
} from './session.ts'
import { type OptimizerState, type SharedFloats, sharedFloats, type Update } from './stage.ts'

/** Tensors over one chunk of each buffer, made once. */
interface Chunk {
  readonly weight: Tensors[string]
  readonly gradient: Tensors[string]
  readonly first: Tensors[string]
  readonly second: Tensors[string]
}

export class StageState {
  readonly weights: SharedFloats
  readonly sums: SharedFloats
  readonly #first: SharedFloats
  readonly #second: SharedFloats
  #updates = 0
  readonly #optimizer: OptimizerConfig
  readonly #chunks: readonly Chunk[]
  readonly #adamw: Session
  readonly #sumOfSquares: Session

  private constructor(
    layout: Layout,
    optimizer: OptimizerConfig,
    adamw: Session,
    squares: Session,
  ) {
    const buffers = Array.from({ length: 4 }, () => sharedFloats(layout.length))
    ;[this.weights, this.sums, this.#first, this.#second] = buffers as [
      SharedFloats,
      SharedFloats,
      SharedFloats,
      SharedFloats,
    ]
    const part = (buffer: SharedFloats, i: number) =>
      tensor(buffer.subarray(i * layout.chunk, (i + 1) * layout.chunk), [layout.chunk])
    this.#chunks = Array.from({ length: layout.length / layout.chunk }, (_, i) => ({
      weight: part(this.weights, i),
      gradient: part(this.sums, i),
      first: part(this.#first, i),
      second: part(this.#second, i),
    }))
    this.#optimizer = optimizer
    this.#adamw = adamw
    this.#sumOfSquares = squares
  }

  static async create(
    layout: Layout,
    optimizer: OptimizerConfig,
    options: SessionOptions,
  ): Promise<StageState> {
    // In-place graphs must be run as written; and there is little in them to optimise.
    const basic = { ...options, optimization: 'basic' } as const
    const adamw = await createSession(encodeModel(adamwProgram(layout.chunk)), basic)
    const squares = await createSession(encodeModel(sumOfSquaresProgram(layout.chunk)), basic)
    return new StageState(layout, optimizer, adamw, squares)
  }

  async gradientNorm(): Promise<number> {
    const sum = tensor(new Float32Array(1), [1])
    let total = 0
    for (const { gradient } of this.#chunks) {
      await this.#sumOfSquares.runInto({ x: gradient }, { sum })
      total += Number(sum.data[0])
    }
    return Math.sqrt(total)
  }

  async update(update: Update): Promise<void> {
    this.#updates++
    const scalars = scalarTensors(adamwScalars(this.#optimizer, update, this.#updates))
    for (const chunk of this.#chunks) {
      const { weight, gradient, first, second } = chunk
      await this.#adamw.runInto(
        { ...scalars, weight, gradient, first, second },
        { [`weight${WRITTEN}`]: weight, [`first${WRITTEN}`]: first, [`second${WRITTEN}`]: second },
      )
    }
    this.zeroGradients()
  }

  zeroGradients(): void {
    this.sums.fill(0)
  }

  load(weights: Float32Array, optimizer?: OptimizerState): void {
    this.weights.set(weights)
    this.#updates = optimizer?.updates ?? 0
    for (const [own, given] of [
      [this.#first, optimizer?.firstMoment],
      [this.#second, optimizer?.secondMoment],
    ] as const) {
      if (given === undefined) own.fill(0)
      else own.set(given)
    }
    this.zeroGradients()
  }

  optimizerState(): OptimizerState {
    const copy = (buffer: SharedFloats) => {
      const floats = sharedFloats(buffer.length)
      floats.set(buffer)
      return floats
    }
    return {
      firstMoment: copy(this.#first),
      secondMoment: copy(this.#second),
      updates: this.#updates,
    }
  }

  async release(): Promise<void> {
    await this.#adamw.release()
    await this.#sumOfSquares.release()
  }
}

function scalarTensors(scalars: AdamwScalars): Tensors {
  return Object.fromEntries(
    Object.entries(scalars).map(([name, value]) => [name, tensor(Float32Array.of(value), [])]),
  )
}
