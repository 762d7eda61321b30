/** Buffers and compiled programs of one stage, and how they are brought together for a run. */
import type { Graph } from './graph.ts'
import type { StageConfig } from './model.ts'
import { encodeModel } from './onnx.ts'
import { initializeWeights, layoutOf, parameterView } from './parameters.ts'
import { type Programs, SUM, WRITTEN } from './programs.ts'
import type { Random } from './random.ts'
import {
  createSession,
  type Session,
  type SessionOptions,
  type Tensors,
  tensor,
} from './session.ts'
import { type SharedFloats, sharedFloats } from './stage.ts'
import { StageState } from './stage-state.ts'

export interface StageOptions {
  /** As chosen by chooseProvider. */
  readonly provider: SessionOptions['provider']
  /** Threads inside one operator. */
  readonly threads: number
  /** The run's: initial weights depend on it and on their names alone. */
  readonly random: Random
}

export class Engine<Program extends string> {
  readonly state: StageState
  readonly #config: StageConfig
  readonly #sessions: ReadonlyMap<Program, Session>
  /** Weights by the names of the graphs' inputs. */
  readonly #weights: Record<string, Tensors[string]> = {}
  readonly #sums: Record<string, Tensors[string]> = {}

  private constructor(
    config: StageConfig,
    stage: number,
    state: StageState,
    sessions: ReadonlyMap<Program, Session>,
  ) {
    this.state = state
    this.#config = config
    this.#sessions = sessions
    // All body stages run the graphs of the first; parameters correspond by position.
    const names = layoutOf(config, Math.min(stage, 1)).parameters
    for (const [i, parameter] of layoutOf(config, stage).parameters.entries()) {
      const { name, shape } = names[i]!
      this.#weights[name] = tensor(parameterView(state.weights, parameter), shape)
      this.#sums[name] = tensor(parameterView(state.sums, parameter), shape)
    }
  }

  static async create<Program extends string>(
    config: StageConfig,
    stage: number,
    programs: Programs<Program>,
    { random, ...options }: StageOptions,
  ): Promise<Engine<Program>> {
    const layout = layoutOf(config, stage)
    const state = await StageState.create(layout, config.optimizer, options)
    initializeWeights(state.weights, layout, random)
    const sessions = new Map<Program, Session>()
    for (const [name, graph] of Object.entries(programs) as [Program, Graph][]) {
      sessions.set(name, await createSession(encodeModel(graph), options))
    }
    return new Engine(config, stage, state, sessions)
  }

  /** @param sums names of the parameters whose gradient sums the program reads and writes */
  async run(
    program: Program,
    feeds: Tensors,
    outputs: Tensors,
    sums: readonly string[] = [],
  ): Promise<void> {
    const sumFeeds = Object.fromEntries(sums.map((name) => [SUM + name, this.#sums[name]!]))
    const sumOutputs = Object.fromEntries(
      sums.map((name) => [SUM + name + WRITTEN, this.#sums[name]!]),
    )
    await this.#sessions
      .get(program)!
      .runInto({ ...this.#weights, ...sumFeeds, ...feeds }, { ...outputs, ...sumOutputs })
  }

  /** All parameters, by the names that the graphs know. */
  get parameterNames(): string[] {
    return Object.keys(this.#weights)
  }

  newActivation(): SharedFloats {
    const { batch, context } = this.#config.microbatch
    return sharedFloats(batch * context * this.#config.model.hiddenSize)
  }

  activation(data: Float32Array): Tensors[string] {
    const { hiddenSize } = this.#config.model
    return tensor(data, [data.length / hiddenSize, hiddenSize])
  }

  /** Refuses what is not in the vocabulary: a run that fails in the middle may have added to some sums already. */
  tokens(data: Int32Array): Tensors[string] {
    const { vocabSize } = this.#config.model
    const stray = data.find((token) => !(token >= 0 && token < vocabSize))
    if (stray !== undefined) throw new RangeError(`token ${stray} is not in 0..${vocabSize - 1}`)
    return tensor(data, [data.length])
  }

  async release(): Promise<void> {
    for (const session of this.#sessions.values()) await session.release()
    await this.state.release()
  }
}
