/** Flat buffers of a stage, and operations on whole buffers: norm, update, load. */
import type { OptimizerConfig } from './model.ts'
import { type Moment, optimizerOf, sumOfSquaresProgram, updateProgram } from './optimizer.ts'
import type { Layout } from './parameters.ts'
import { type Programs, WRITTEN } from './programs.ts'
import { remembering } from './recent.ts'
import { type Session, type Tensors, tensor } from './session.ts'
import {
  type Moments,
  type OptimizerState,
  type SharedFloats,
  sharedFloats,
  type Update,
} from './stage.ts'

export type StateProgram = 'update' | 'sumOfSquares'

/** Programs over one chunk of the flat buffers. */
export const statePrograms = remembering(buildStatePrograms)

function buildStatePrograms(chunk: number, optimizer: OptimizerConfig): Programs<StateProgram> {
  return { update: updateProgram(optimizer, chunk), sumOfSquares: sumOfSquaresProgram(chunk) }
}

/** Tensors over one chunk of each buffer, by the names of the update's inputs. */
type Chunk = Readonly<Record<'weight' | 'gradient', Tensors[string]>> & Tensors

export class StageState {
  readonly weights: SharedFloats
  readonly sums: SharedFloats
  readonly moments: Moments
  readonly #moments: ReadonlyMap<Moment, SharedFloats>
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
    const { moments } = optimizerOf(optimizer)
    const momentOf = (name: Moment) => sharedFloats(moments.includes(name) ? length : 0)
    this.moments = { firstMoment: momentOf('first'), secondMoment: momentOf('second') }
    this.#moments = new Map(moments.map((name) => [name, this.moments[`${name}Moment`]]))
    const part = (buffer: SharedFloats, i: number) =>
      tensor(buffer.subarray(i * chunk, (i + 1) * chunk), [chunk])
    this.#chunks = Array.from({ length: length / chunk }, (_, i) => ({
      weight: part(this.weights, i),
      gradient: part(this.sums, i),
      ...Object.fromEntries([...this.#moments].map(([name, buffer]) => [name, part(buffer, i)])),
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
    const { scalars } = optimizerOf(this.#optimizer)
    const scalarTensors = Object.fromEntries(
      Object.entries(scalars(this.#optimizer, update, this.#updates)).map(([name, value]) => [
        name,
        tensor(Float32Array.of(value), []),
      ]),
    )
    for (const { gradient, ...written } of this.#chunks) {
      const outputs = Object.entries(written).map(([name, part]) => [name + WRITTEN, part])
      await this.#sessions.update.runInto(
        { ...scalarTensors, gradient, ...written },
        Object.fromEntries(outputs),
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
    const given = { first: optimizer?.firstMoment, second: optimizer?.secondMoment }
    for (const [name, own] of this.#moments) {
      if (given[name] === undefined) own.fill(0)
      else own.set(given[name])
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
