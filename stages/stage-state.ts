/** The flat buffers of a stage and what is done to them whole: norm, update, load. */
import type { OptimizerConfig } from './model.ts'
import { adamwProgram, adamwScalars, sumOfSquaresProgram } from './optimizer.ts'
import type { Layout } from './parameters.ts'
import { type Programs, WRITTEN } from './programs.ts'
import { type Session, type Tensors, tensor } from './session.ts'
import {
  type Moments,
  type OptimizerState,
  type SharedFloats,
  sharedFloats,
  type Update,
} from './stage.ts'

export type StateProgram = 'adamw' | 'sumOfSquares'

/** Each takes one chunk of the flat buffers. */
export function statePrograms({ chunk }: Layout): Programs<StateProgram> {
  return { adamw: adamwProgram(chunk), sumOfSquares: sumOfSquaresProgram(chunk) }
}

/** Tensors over one chunk of each buffer, by the names of AdamW's inputs. */
type Chunk = Readonly<Record<'weight' | 'gradient' | 'first' | 'second', Tensors[string]>>

export class StageState {
  readonly weights: SharedFloats
  readonly sums: SharedFloats
  readonly moments: Moments
  #updates = 0
  readonly #optimizer: OptimizerConfig
  readonly #chunks: readonly Chunk[]
  readonly #sessions: Readonly<Record<StateProgram, Session>>

  constructor(
    { length, chunk }: Layout,
    optimizer: OptimizerConfig,
    sessions: Readonly<Record<StateProgram, Session>>,
  ) {
    this.weights = sharedFloats(length)
    this.sums = sharedFloats(length)
    this.moments = { firstMoment: sharedFloats(length), secondMoment: sharedFloats(length) }
    const part = (buffer: SharedFloats, i: number) =>
      tensor(buffer.subarray(i * chunk, (i + 1) * chunk), [chunk])
    this.#chunks = Array.from({ length: length / chunk }, (_, i) => ({
      weight: part(this.weights, i),
      gradient: part(this.sums, i),
      first: part(this.moments.firstMoment, i),
      second: part(this.moments.secondMoment, i),
    }))
    this.#optimizer = optimizer
    this.#sessions = sessions
  }

  async gradientNorm(): Promise<number> {
    const sum = tensor(new Float32Array(1), [1])
    let total = 0
    for (const { gradient } of this.#chunks) {
      await this.#sessions.sumOfSquares.runInto({ x: gradient }, { sum })
      total += Number(sum.data[0])
    }
    return Math.sqrt(total)
  }

  async update(update: Update): Promise<void> {
    this.#updates++
    const scalars = Object.entries(adamwScalars(this.#optimizer, update, this.#updates))
    const scalarTensors = Object.fromEntries(
      scalars.map(([name, value]) => [name, tensor(Float32Array.of(value), [])]),
    )
    for (const chunk of this.#chunks) {
      const { weight, first, second } = chunk
      await this.#sessions.adamw.runInto(
        { ...scalarTensors, ...chunk },
        {
          [`weight${WRITTEN}`]: weight,
          [`first${WRITTEN}`]: first,
          [`second${WRITTEN}`]: second,
        },
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
      [this.moments.firstMoment, optimizer?.firstMoment],
      [this.moments.secondMoment, optimizer?.secondMoment],
    ] as const) {
      if (given === undefined) own.fill(0)
      else own.set(given)
    }
    this.zeroGradients()
  }

  optimizerState(): OptimizerState {
    return {
      firstMoment: new Float32Array(this.moments.firstMoment),
      secondMoment: new Float32Array(this.moments.secondMoment),
      updates: this.#updates,
    }
  }
}
