/** Buffers and compiled programs of one stage, and the runs of the programs over the buffers. */

import { LIMITS, type Limits, sequencesPerRun } from './chunks.ts'
import { KEPT } from './keep.ts'
import type { StageConfig } from './model.ts'
import { initializeWeights, layoutOf, parameterView } from './parameters.ts'
import { type Programs, SUM } from './programs.ts'
import type { Random } from './random.ts'
import {
  createSessions,
  type Elements,
  type Session,
  type SessionOptions,
  type Tensors,
  tensor,
} from './session.ts'
import { sizeOf } from './shape.ts'
import { StageState, type StateProgram, statePrograms } from './stage-state.ts'

export interface StageOptions {
  /** Result of `chooseProvider`. */
  readonly provider: SessionOptions['provider']
  /** Threads inside one operator. */
  readonly threads: number
  /** Generator of the run. Initial weights depend on it and on their names alone. */
  readonly random: Random
  /** Default {@link LIMITS}. */
  readonly limits?: Limits
}

/** Inputs and outputs of a program for a whole microbatch, by name. */
type Arrays = Readonly<Record<string, Elements>>

export class Engine<Program extends string> {
  readonly state: StageState
  readonly #config: StageConfig
  readonly #graphs: Programs<Program>
  readonly #sessions: Readonly<Record<Program | StateProgram, Session>>
  /** Weights and gradient sums by the names of the graphs' inputs. */
  readonly #own = new Map<string, Tensors[string]>()
  /** Weights and discarded sums by the same names, for a microbatch whose gradient is in the real sums already. */
  #scratch: ReadonlyMap<string, Tensors[string]> | undefined

  private constructor(
    config: StageConfig,
    stage: number,
    graphs: Programs<Program>,
    sessions: Readonly<Record<Program | StateProgram, Session>>,
  ) {
    const layout = layoutOf(config, stage)
    this.state = new StageState(layout, config.optimizer, sessions)
    this.#config = config
    this.#graphs = graphs
    this.#sessions = sessions
    // All body stages run the graphs of the first body stage. Parameters correspond by position.
    const names = layoutOf(config, Math.min(stage, 1)).parameters
    for (const [i, parameter] of layout.parameters.entries()) {
      const { name, shape } = names[i]!
      this.#own.set(name, tensor(parameterView(this.state.weights, parameter), shape))
      this.#own.set(SUM + name, tensor(parameterView(this.state.sums, parameter), shape))
    }
  }

  /** @param programs builds the graphs for a number of sequences of a run */
  static async create<Program extends string>(
    config: StageConfig,
    stage: number,
    programs: (config: StageConfig, sequences: number, limits: Limits) => Programs<Program>,
    { random, limits = LIMITS, ...options }: StageOptions,
  ): Promise<Engine<Program>> {
    const layout = layoutOf(config, stage)
    const graphs = programs(config, sequencesPerRun(config, options), limits)
    const sessions = await createSessions(
      { ...graphs, ...statePrograms(layout.chunk, config.optimizer) },
      options,
    )
    const engine = new Engine(config, stage, graphs, sessions)
    initializeWeights(engine.state.weights, layout, random)
    return engine
  }

  /** Number of runs of a microbatch. A fed input has a row for each token. */
  runsOf(program: Program): number {
    const { batch, context } = this.#config.microbatch
    const fed = this.#graphs[program].inputs.find(({ name }) => !this.#own.has(name))!
    return (batch * context) / fed.shape[0]!
  }

  /**
   * Runs a program over a microbatch. Weights and gradient sums are bound by name.
   * @param count false keeps the gradient sums as they are
   */
  async run(program: Program, feeds: Arrays, outputs: Arrays, count = true): Promise<void> {
    const own = count ? this.#own : this.#uncounted()
    const graph = this.#graphs[program]
    const session = this.#sessions[program]
    const runs = this.runsOf(program)
    for (let run = 0; run < runs; run++) {
      const part = (array: Elements, shape: readonly number[]) => {
        const size = sizeOf(shape)
        return tensor(array.subarray(run * size, (run + 1) * size), shape)
      }
      const inputTensors: [string, Tensors[string]][] = graph.inputs.map(({ name, shape }) => [
        name,
        own.get(name) ?? part(feeds[name]!, shape),
      ])
      const outputTensors: [string, Tensors[string]][] = graph.outputs.map(
        ({ name, value, inPlaceOf }) => [
          name,
          inPlaceOf ? own.get(inPlaceOf.name)! : part(outputs[name]!, value.shape),
        ],
      )
      await session.runInto(Object.fromEntries(inputTensors), Object.fromEntries(outputTensors))
    }
  }

  /** Weights and discarded sums. The sums take memory from the first microbatch that is driven again. */
  #uncounted(): ReadonlyMap<string, Tensors[string]> {
    this.#scratch ??= new Map(
      [...this.#own].map(([name, own]) => {
        if (!name.startsWith(SUM)) return [name, own]
        return [name, tensor(new Float32Array(own.data.length), own.dims)]
      }),
    )
    return this.#scratch
  }

  /** New memory for the kept outputs of a program over a microbatch. */
  newKept(program: Program): Record<string, Float32Array | Uint16Array> {
    const runs = this.runsOf(program)
    const outputs = this.#graphs[program].outputs.filter(({ name }) => name.startsWith(KEPT))
    return Object.fromEntries(
      outputs.map(({ name, value: { dtype, shape } }) => {
        const length = runs * sizeOf(shape)
        return [name, dtype === 'float16' ? new Uint16Array(length) : new Float32Array(length)]
      }),
    )
  }

  newActivation(): Float32Array {
    const { batch, context } = this.#config.microbatch
    return new Float32Array(batch * context * this.#config.model.hiddenSize)
  }

  /** @throws RangeError for tokens outside the vocabulary, before an earlier run of the microbatch adds to the sums */
  checkTokens(tokens: Int32Array): void {
    const { vocabSize } = this.#config.model
    const stray = tokens.find((token) => !(token >= 0 && token < vocabSize))
    if (stray !== undefined) throw new RangeError(`token ${stray} is not in 0..${vocabSize - 1}`)
  }

  async release(): Promise<void> {
    for (const session of Object.values<Session>(this.#sessions)) await session.release()
  }
}
