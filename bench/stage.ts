/**
 * One body stage beside what this machine can do at best with the same operators, in one run. A ceiling is time that the
 * machine itself needs: for the stage's matrix products, each alone; for its other operators, a pass over as many elements.
 */
import { LIMITS, sequencesPerRun } from '../stages/chunks.ts'
import type { Graph } from '../stages/graph.ts'
import type { StageConfig } from '../stages/model.ts'
import { createLocalStage } from '../stages/onnx-stage.ts'
import { layoutOf } from '../stages/parameters.ts'
import { bodyPrograms } from '../stages/programs.ts'
import { Random } from '../stages/random.ts'
import type { SessionOptions } from '../stages/session.ts'
import { statePrograms } from '../stages/stage-state.ts'
import {
  emptyProgram,
  filled,
  type Program,
  passElements,
  passProgram,
  productFlops,
  productPrograms,
  squareProgram,
  streamProgram,
} from './products.ts'
import { least, rounded, type Sample, samplesInTurn } from './statistics.ts'

/** A square product of this many rows is bound by computing and fills every core. */
const SQUARE = 1024
/** Tokens over which an update is spread when its share of a step is told. */
const TOKENS_OF_A_STEP = 4096
/** Floats that an update of AdamW moves a parameter: reads weight, gradient and two moments, writes the same. */
const FLOATS_OF_AN_UPDATE = 8
/** Floats that an addition moves an element: two operands and the result. */
const FLOATS_OF_A_PASS = 3
/**
 * Share of the cores that the square product gets on a machine without other work. Below it the benchmark reads processor
 * time, divided by the threads: the clock would count other programs, too. Processor time leaves out waiting threads.
 */
const QUIET = 0.9

/** A measured time beside the least time that this machine needs for it. */
export interface Against {
  readonly milliseconds: number
  readonly ceilingMilliseconds: number
  /** Ceiling over measured: 1 is as good as can be. */
  readonly ratio: number
}

function against(seconds: number, ceiling: number): Against {
  return {
    milliseconds: rounded(seconds * 1e3),
    ceilingMilliseconds: rounded(ceiling * 1e3),
    ratio: rounded(ceiling / seconds),
  }
}

/** Graphs of a stage, and counts of their work for a microbatch and an update. */
function counted(config: StageConfig, sequences: number) {
  const { forward, backward } = bodyPrograms(config, sequences, LIMITS)
  const { chunk, length } = layoutOf(config, 1)
  const { update } = statePrograms(chunk, config.optimizer)
  const { batch, context } = config.microbatch
  const runs = batch / sequences
  return {
    forward,
    backward,
    runs,
    chunk,
    /** Elements of an activation of one run. */
    activation: sequences * context * config.model.hiddenSize,
    ...graphWork(config, forward, backward, sequences),
    gflop: (runs * (productFlops(forward) + productFlops(backward))) / 1e9,
    passElements: runs * (passElements(forward) + passElements(backward)),
    updatePassElements: (passElements(update) * length) / chunk,
    updateBytes: FLOATS_OF_AN_UPDATE * length * Float32Array.BYTES_PER_ELEMENT,
  }
}

/** Work of the graphs beside that of the algorithm. Nothing here is timed, so it is the same on every machine. */
function graphWork(config: StageConfig, forward: Graph, backward: Graph, sequences: number) {
  const { hiddenSize, intermediateSize, layers } = config.model
  const { context } = config.microbatch
  const elements = sequences * context * hiddenSize * (layers / config.bodyStages)
  // An element takes part in four projections, three products of the MLP, and attention's scores and values as full squares.
  const forwardFlops = 2 * elements * (4 * hiddenSize + 3 * intermediateSize + 2 * context)
  // Backward has two products for each of forward, and computes forward again.
  const ideal = 4 * forwardFlops
  return {
    productsOverIdeal: (productFlops(forward) + productFlops(backward)) / ideal,
    passesPerLayer: (passElements(forward) + passElements(backward)) / elements,
  }
}
type Counted = ReturnType<typeof counted>

/** Programs for the ceilings by name, and how often a microbatch computes each product. */
async function machinePrograms(work: Counted, options: SessionOptions) {
  const { forward, backward, runs, chunk, activation, updateBytes } = work
  const graphs = [forward, backward].map((graph) => [graph, runs] as const)
  const { programs, counts } = await productPrograms(graphs, options)
  const others: Readonly<Record<string, Program>> = {
    square: await squareProgram(SQUARE, options),
    pass: await passProgram(activation, options),
    chunkPass: await passProgram(chunk, options),
    stream: await streamProgram(updateBytes, options),
    empty: await emptyProgram(backward, options),
  }
  return { programs: { ...programs, ...others }, counts }
}

/** @param rounds calls of each candidate, after one that does not count */
export async function benchStage(config: StageConfig, threads: number, rounds = 10) {
  const options = { provider: 'cpu', threads } as const
  const sequences = sequencesPerRun(config, options)
  const work = counted(config, sequences)
  const { programs, counts } = await machinePrograms(work, options)
  const stage = await createLocalStage(config, 1, { ...options, random: new Random(1) })
  if (stage.kind !== 'body') throw new Error('stage 1 is a body stage')
  const tokens = config.microbatch.batch * config.microbatch.context
  const input = filled(tokens * config.model.hiddenSize)
  const gradient = filled(input.length)
  const sums = filled(stage.weights.length)

  const own = Object.entries(programs).map(([name, { run }]) => [name, run] as const)
  const samples = await samplesInTurn<string>(rounds, {
    ...Object.fromEntries(own),
    forward: () => stage.forward(input),
    backward: () => stage.backward(input, gradient),
    update: () => stage.update({ learningRate: 1e-6, gradientScale: 1 }),
    // An update ends by setting the gradient sums to zero.
    zeros: async () => sums.fill(0),
    // A call of a worker copies each activation that it sends. Results move without a copy.
    copies: async () => [input.slice(), input.slice(), gradient.slice()],
  })
  for (const { release } of Object.values(programs)) await release()
  const parameters = stage.weights.length
  await stage.close()

  const got = coresGot(samples.square!, threads)
  const clock = got >= QUIET ? 'wall' : 'cpu'
  const seconds = (name: string) => {
    const each = least(samples[name]!.map((sample) => sample[clock]))
    return each / (programs[name]?.repeats ?? 1) / (clock === 'cpu' ? threads : 1)
  }
  return {
    threads,
    tokens,
    sequencesPerRun: sequences,
    parameters,
    productsOverIdeal: rounded(work.productsOverIdeal),
    passesPerLayer: rounded(work.passesPerLayer),
    clock,
    shareOfCores: rounded(got),
    ...beside(work, counts, seconds),
    ...shares(work, tokens, seconds),
  }
}

/** Share of the cores that a program got. Below 1 other programs run, or threads wait for each other. */
function coresGot(samples: readonly Sample[], threads: number): number {
  const sum = (clock: keyof Sample) => samples.reduce((total, each) => total + each[clock], 0)
  return sum('cpu') / (sum('wall') * threads)
}

/** Seconds of one call: the least of all rounds. */
type Seconds = (name: string) => number

/** Each part of a step beside its ceiling. */
function beside(work: Counted, counts: Readonly<Record<string, number>>, seconds: Seconds) {
  const products = Object.entries(counts).reduce(
    (sum, [name, count]) => sum + count * seconds(name),
    0,
  )
  const passes = (work.passElements / work.activation) * seconds('pass')
  const computing = seconds('forward') + seconds('backward')
  const updatePasses = (work.updatePassElements / work.chunk) * seconds('chunkPass')
  const [stream, zeros] = [seconds('stream'), seconds('zeros')]
  return {
    gflops: {
      square: rounded((2 * SQUARE ** 3) / seconds('square') / 1e9),
      productsAlone: rounded(work.gflop / products),
      stage: rounded(work.gflop / computing),
    },
    gigabytesPerSecond: {
      stream: rounded(work.updateBytes / stream / 1e9),
      pass: rounded((FLOATS_OF_A_PASS * 4 * work.activation) / seconds('pass') / 1e9),
    },
    computing: {
      ...against(computing, products + passes),
      parts: { products: rounded(products * 1e3), passes: rounded(passes * 1e3) },
    },
    update: {
      ...against(seconds('update'), Math.max(updatePasses, stream) + zeros),
      parts: {
        passes: rounded(updatePasses * 1e3),
        stream: rounded(stream * 1e3),
        zeros: rounded(zeros * 1e3),
      },
    },
  }
}

/** Shares of a step, which are not judged: a machine that computes faster has larger shares of the rest. */
function shares({ runs }: Counted, tokens: number, seconds: Seconds) {
  const computing = seconds('forward') + seconds('backward')
  const update = seconds('update')
  const overhead = 2 * runs * seconds('empty') + seconds('copies')
  return {
    optimizerShare: rounded(update / ((computing * TOKENS_OF_A_STEP) / tokens + update)),
    copiesAndDispatchShare: rounded(overhead / (computing + seconds('copies'))),
  }
}
