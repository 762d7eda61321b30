/** The only file that uses onnxruntime-node: compiles models, runs them into buffers of the caller, and frees them. */
// The first import, since it must precede the loading of the library.
import './no-telemetry.ts'
import { createHash } from 'node:crypto'
import { env, InferenceSession, Tensor } from 'onnxruntime-node'
import { Graph } from './graph.ts'
import { GUARD, GUARD_MESSAGE, withGuard } from './guard.ts'
import { encodeModel } from './onnx.ts'

// Failures throw exceptions. Lines on standard error would bypass the journal.
env.logLevel = 'fatal'

export interface SessionOptions {
  readonly provider: 'cpu' | 'cuda' | 'webgpu'
  /** Threads within one operator. Every session has its own threads. */
  readonly threads: number
  /** How much ONNX Runtime may rewrite the graph; default 'all'. */
  readonly optimization?: 'disabled' | 'basic' | 'all'
  /** True copies outputs even where the guard works. */
  readonly copies?: boolean
}

/** Tensors by the names of a graph's inputs or outputs. ONNX Runtime reads and writes the memory of the caller in place. */
export type Tensors = Readonly<Record<string, Tensor>>

/** Elements in memory: float32, int32, or the bits of float16. */
export type Elements = Float32Array | Int32Array | Uint16Array

/** @param shape [] is a scalar */
export function tensor(data: Elements, shape: readonly number[]): Tensor {
  if (data instanceof Float32Array) return new Tensor('float32', data, shape)
  if (data instanceof Int32Array) return new Tensor('int32', data, shape)
  // With a Float16Array (Node 24) the library makes one of the bits, which its native part does not accept.
  return Object.defineProperty(new Tensor('float16', data, shape), 'data', { value: data })
}

export interface Session {
  /** Runs the graph, and blocks this thread meanwhile. @param outputs filled with the results; may share memory with feeds */
  runInto(feeds: Tensors, outputs: Tensors): Promise<void>
  /** Releases this session. The last release frees the compiled model, which the garbage collector never frees. */
  release(): Promise<void>
}

interface Compiled {
  readonly session: Promise<InferenceSession>
  readonly guarded: boolean
  holders: number
}

/** Compiled models of this thread. Stages with equal shapes share a model. */
const compiled = new Map<string, Compiled>()

/** Number of compiled models of this thread; 0 when all stages are closed. */
export function openSessions(): number {
  return compiled.size
}

/** @param model the bytes of encodeModel */
export async function createSession(model: Uint8Array, options: SessionOptions): Promise<Session> {
  const guarded = options.copies !== true && (await guardWorks())
  const key = createHash('sha256').update(JSON.stringify(options)).update(model).digest('hex')
  const entry = compiled.get(key) ?? {
    session: compile(guarded ? withGuard(model) : model, options),
    guarded,
    holders: 0,
  }
  compiled.set(key, entry)
  entry.holders++
  try {
    return asSession(key, entry, await entry.session)
  } catch (error) {
    compiled.delete(key)
    throw error
  }
}

/** Encoded graphs. No node is added to a graph after its encoding. */
const encoded = new WeakMap<Graph, Uint8Array>()

function encodedOnce(graph: Graph): Uint8Array {
  const model = encoded.get(graph) ?? encodeModel(graph)
  encoded.set(graph, model)
  return model
}

/** Creates a session for each graph. If one fails, all are released. */
export async function createSessions<Name extends string>(
  graphs: Readonly<Record<Name, Graph>>,
  options: SessionOptions,
): Promise<Readonly<Record<Name, Session>>> {
  const sessions: Partial<Record<string, Session>> = {}
  try {
    for (const [name, graph] of Object.entries<Graph>(graphs)) {
      sessions[name] = await createSession(encodedOnce(graph), options)
    }
    return sessions as Record<Name, Session>
  } catch (error) {
    for (const session of Object.values(sessions)) await session?.release()
    throw error
  }
}

function asSession(key: string, entry: Compiled, session: InferenceSession): Session {
  let released = false
  return {
    runInto: (feeds, outputs) => (entry.guarded ? runGuarded : runCopying)(session, feeds, outputs),
    async release() {
      if (released) return
      released = true
      entry.holders--
      if (entry.holders > 0) return
      compiled.delete(key)
      await session.release()
    },
  }
}

function compile(model: Uint8Array, options: SessionOptions): Promise<InferenceSession> {
  return InferenceSession.create(model, {
    executionProviders: [options.provider],
    intraOpNumThreads: options.threads,
    interOpNumThreads: 1,
    graphOptimizationLevel: options.optimization ?? 'all',
    // The arena keeps the memory of the first run. Memory patterns would keep as much a second time.
    enableMemPattern: false,
    logSeverityLevel: 4,
    // Threads that spin after a run would take cores from other sessions and from the network.
    extra: { session: { intra_op: { allow_spinning: '0' } } },
  })
}

async function runGuarded(session: InferenceSession, feeds: Tensors, outputs: Tensors) {
  try {
    await session.run(feeds, { [GUARD]: null, ...outputs })
  } catch (error) {
    if (error instanceof Error && error.message === GUARD_MESSAGE) return
    throw error
  }
  throw new Error('ONNX Runtime returned from a guarded run, so its outputs are undefined')
}

/** Runs into new tensors and copies them, since an output may share memory with an input. */
async function runCopying(session: InferenceSession, feeds: Tensors, outputs: Tensors) {
  const results = await session.run(feeds, Object.keys(outputs))
  for (const [name, output] of Object.entries(outputs)) {
    const data = output.data as Float32Array
    data.set(results[name]!.data as Float32Array)
  }
}

let works: Promise<boolean> | undefined

/** True if this ONNX Runtime behaves as guard.ts needs. Tested once a thread on a graph of four elements. */
export function guardWorks(): Promise<boolean> {
  works ??= tryGuard()
  return works
}

async function tryGuard(): Promise<boolean> {
  const graph = new Graph()
  graph.output('y', graph.add('Neg', [graph.float('x', [4])]))
  const session = await compile(withGuard(encodeModel(graph)), { provider: 'cpu', threads: 1 })
  const y = tensor(new Float32Array(4), [4])
  try {
    await runGuarded(session, { x: tensor(Float32Array.of(1, 2, 3, 4), [4]) }, { y })
    return (y.data as Float32Array).join() === '-1,-2,-3,-4'
  } catch {
    return false
  } finally {
    await session.release()
  }
}
