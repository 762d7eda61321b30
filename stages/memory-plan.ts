/** Predicts the memory of a stage before any of it is allocated. */
import { LIMITS, type Limits, sequencesPerRun } from './chunks.ts'
import { type Graph, liveNodes, type Node, type Value } from './graph.ts'
import { KEPT } from './keep.ts'
import type { StageConfig } from './model.ts'
import type { Operator } from './ops/operator.ts'
import { operators } from './ops.ts'
import { optimizerOf } from './optimizer.ts'
import { ENDS, layoutOf } from './parameters.ts'
import { bodyPrograms, endsPrograms } from './programs.ts'
import { sizeOf } from './shape.ts'

/** Memory of a process with one stage, in bytes. */
export interface MemoryPlan {
  readonly weights: number
  readonly sums: number
  readonly optimizer: number
  /** Microbatches between forward and backward: inputs, kept values, and the tensors of one call. */
  readonly inFlight: number
  /** ONNX Runtime's memory for values within runs. Each program has its own memory, and returns none. */
  readonly working: number
  /** Node and ONNX Runtime without work. */
  readonly process: number
  readonly peak: number
}

export interface PlanOptions {
  readonly threads: number
  /** Number of microbatches between forward and backward. */
  readonly microbatches: number
  readonly limits?: Limits
}

/** Measured: Node 24 with onnxruntime-node 1.30 and its compiled graphs. */
const PROCESS_BYTES = 140e6

/** Measured (1.5 to 1.65): ONNX Runtime's arena fragments. The few large values of the ends leave no gaps. */
const ARENA = { body: 1.55, ends: 1 }

/** Measured: folded constants stay in memory, and so does the memory for folding them. */
const FOLDING = 4

const BYTES = Float32Array.BYTES_PER_ELEMENT

export function planMemory(
  config: StageConfig,
  stage: number,
  { threads, microbatches, limits = LIMITS }: PlanOptions,
): MemoryPlan {
  const { batch, context } = config.microbatch
  const sequences = sequencesPerRun(config, { provider: 'cpu', threads })
  const build = stage === ENDS ? endsPrograms : bodyPrograms
  const graphs: Graph[] = Object.values(build(config, sequences, limits))
  const weights = layoutOf(config, stage).length * BYTES
  const activation = batch * context * config.model.hiddenSize * BYTES
  const kept = graphs.flatMap(({ outputs }) => outputs.filter(({ name }) => name.startsWith(KEPT)))
  const keptBytes = kept.reduce((sum, { value }) => sum + bytesOf(value), 0) * (batch / sequences)
  const arena = stage === ENDS ? ARENA.ends : ARENA.body
  const working = distinct(graphs).reduce((sum, graph) => sum + workingBytes(graph, arena), 0)
  // The last call has an incoming gradient and an output.
  const inFlight =
    stage === ENDS ? 2 * activation : microbatches * (activation + keptBytes) + 2 * activation
  const parts = {
    weights,
    sums: weights,
    optimizer: optimizerOf(config.optimizer).moments.length * weights,
    inFlight,
    working,
    process: PROCESS_BYTES,
  }
  return { ...parts, peak: Object.values(parts).reduce((sum, part) => sum + part, 0) }
}

/** Graphs without repetitions, since equal graphs share a session. With nothing kept the two forward graphs are equal. */
function distinct(graphs: readonly Graph[]): Graph[] {
  const key = ({ nodes, outputs }: Graph) => `${nodes.length} ${outputs.map(({ name }) => name)}`
  return [...new Map(graphs.map((graph) => [key(graph), graph])).values()]
}

function bytesOf({ dtype, shape }: Value): number {
  return sizeOf(shape) * (dtype === 'float16' ? BYTES / 2 : BYTES)
}

/** Peak of a graph's live values in ONNX Runtime's order of the nodes, times the factor of the arena. */
function workingBytes(graph: Graph, arena: number): number {
  const given = new Set<Value>([...graph.inputs, ...graph.outputs.map(({ value }) => value)])
  const { folded, order } = split(graph)
  const last = new Map<Value, Node>()
  for (const node of order) for (const input of node.inputs) last.set(memoryOf(input), node)
  let alive = 0
  let most = 0
  for (const node of order) {
    if (node.op === 'Reshape') continue
    const inputs = [...new Set(node.inputs.map(memoryOf))]
    const own = (value: Value) =>
      value.node !== undefined && !given.has(value) && !folded.has(value)
    const dying = inputs.filter((value) => own(value) && last.get(value) === node)
    const { mayOverwrite = [] }: Operator = operators[node.op]
    const reused = dying.find(
      (value) =>
        mayOverwrite.some((i) => i < node.inputs.length && memoryOf(node.inputs[i]!) === value) &&
        sizeOf(value.shape) === sizeOf(node.outputs[0]!.shape),
    )
    const made = node.outputs.filter((value) => !given.has(value) && last.has(value))
    const fresh = made.reduce((sum, value) => sum + bytesOf(value), 0)
    alive += fresh - (reused === undefined || made.length === 0 ? 0 : bytesOf(reused))
    most = Math.max(most, alive)
    for (const value of dying) if (value !== reused || made.length === 0) alive -= bytesOf(value)
  }
  const constants = [...folded].reduce((sum, value) => sum + bytesOf(value), 0)
  return arena * most + FOLDING * constants
}

/** The value whose memory this value uses, since Reshape does not copy. */
function memoryOf(value: Value): Value {
  return value.node?.op === 'Reshape' ? memoryOf(value.node.inputs[0]!) : value
}

/** Nodes in depth-first order from the outputs, and values that depend on no input: ONNX Runtime folds them to constants. */
function split(graph: Graph): { folded: ReadonlySet<Value>; order: readonly Node[] } {
  const varying = new Set<Value>(graph.inputs)
  const nodes = liveNodes(graph)
  for (const node of nodes) {
    if (node.inputs.some((input) => varying.has(input)))
      for (const each of node.outputs) varying.add(each)
  }
  const order: Node[] = []
  const seen = new Set<Node>()
  const visit = (node: Node | undefined): void => {
    if (node === undefined || seen.has(node) || !node.outputs.some((each) => varying.has(each)))
      return
    seen.add(node)
    for (const { node: source } of node.inputs) visit(source)
    order.push(node)
  }
  for (const { value } of graph.outputs.toReversed()) visit(value.node)
  const read = new Set(order.flatMap((node) => node.inputs))
  const folded = [...read].filter((value) => value.node !== undefined && !varying.has(value))
  return { folded: new Set(folded), order }
}
