/** What memory a stage will take, before anything of it is allocated. */
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

/** In bytes. */
export interface MemoryPlan {
  readonly weights: number
  readonly sums: number
  readonly optimizer: number
  /** Of the microbatches between forward and backward: inputs, what the policy keeps, and the tensors of one call. */
  readonly inFlight: number
  /** What ONNX Runtime takes for values inside of runs; each program has its own, and gives none back. */
  readonly working: number
  /** Node and ONNX Runtime with nothing to do. */
  readonly process: number
  readonly peak: number
}

export interface PlanOptions {
  readonly threads: number
  /** Microbatches that are forward and not yet back. */
  readonly microbatches: number
  readonly limits?: Limits
}

/** Measured: Node 24 with onnxruntime-node 1.30 and its compiled graphs. */
const PROCESS_BYTES = 140e6

/** Measured, 1.5 to 1.65: ONNX Runtime's arena cuts up what it has and leaves gaps. The ends' few large values fit. */
const ARENA = { body: 1.55, ends: 1 }

/** Measured: what is worked out on loading stays, and so does the room that it took to do so. */
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
  // Of the last call: the gradient that came in, and what it gives out.
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

/** Equal graphs share a session: forward, and forward that keeps nothing. */
function distinct(graphs: readonly Graph[]): Graph[] {
  const key = ({ nodes, outputs }: Graph) => `${nodes.length} ${outputs.map(({ name }) => name)}`
  return [...new Map(graphs.map((graph) => [key(graph), graph])).values()]
}

function bytesOf({ dtype, shape }: Value): number {
  return sizeOf(shape) * (dtype === 'float16' ? BYTES / 2 : BYTES)
}

/** From the most that a graph's own values come to at a time, in the order in which ONNX Runtime runs its nodes. */
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

/** Reshape does not copy. */
function memoryOf(value: Value): Value {
  return value.node?.op === 'Reshape' ? memoryOf(value.node.inputs[0]!) : value
}

/** Nodes in depth-first order from the outputs, and the values of those that no input decides: they become constants. */
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
