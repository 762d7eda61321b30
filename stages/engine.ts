/** Buffers and compiled programs of one stage, and how they are brought together for a run. */

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
  /** As chosen by chooseProvider. */
  readonly provider: SessionOptions['provider']
  /** Threads inside one operator. */
  readonly threads: number
  /** The run's: initial weights depend on it and on their names alone. */
  readonly random: Random
  /** Default {@link LIMITS}. */
  readonly limits?: Limits
}

/** What the caller brings for inputs and outputs of a program: whole microbatches. */
type Arrays = Readonly<Record<string, Elements>>

export class Engine<Program extends string> {
  readonly state: StageState
  readonly #config: StageConfig
  readonly #graphs: Programs<Program>
  readonly #sessions: Readonly<Record<Program | StateProgram, Session>>
  /** Weights and gradient sums by the names of the graphs' inputs. */
  readonly #own = new Map<string, Tensors[string]>()
  /** Sums that nobody reads, by the same names: for a gradient that is in the real ones already. */
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
    // All body stages run the graphs of the first; parameters correspond by position.
    const names = layoutOf(config, Math.min(stage, 1)).parameters
    for (const [i, parameter] of layout.parameters.entries()) {
      const { name, shape } = names[i]!
      this.#own.set(name, tensor(parameterView(this.state.weights, parameter), shape))
      this.#own.set(SUM + name, tensor(parameterView(this.state.sums, parameter), shape))
    }
  }

  /** @param programs builds the graphs, for so many sequences a run */
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

  /** Runs that a microbatch takes: what is fed has a row for each token. */
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

  /** Weights, and sums to be written over. They take memory only once a microbatch had to be driven again. */
  #uncounted(): ReadonlyMap<string, Tensors[string]> {
    this.#scratch ??= new Map(
      [...this.#own].map(([name, own]) => {
        if (!name.startsWith(SUM)) return [name, own]
        return [name, tensor(new Float32Array(own.data.length), own.dims)]
      }),
    )
    return this.#scratch
  }

  /** Room for what a program gives out over a microbatch to be kept. */
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

  /** Refuses tokens that are not in the vocabulary: a run that fails may follow others that have added to the sums. */
  checkTokens(tokens: Int32Array): void {
    const { vocabSize } = this.#config.model
    const stray = tokens.find((token) => !(token >= 0 && token < vocabSize))
    if (stray !== undefined) throw new RangeError(`token ${stray} is not in 0..${vocabSize - 1}`)
  }

  async release(): Promise<void> {
    for (const session of Object.values<Session>(this.#sessions)) await session.release()
  }
}
