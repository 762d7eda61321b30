/** Runs a graph once in ONNX Runtime. */
import type { Graph } from '../../stages/graph.ts'
import { encodeModel } from '../../stages/onnx.ts'
import { createSession, type SessionOptions, tensor } from '../../stages/session.ts'
import { sizeOf } from '../../stages/shape.ts'

/** Contents of the outputs by name. @param feeds contents of the inputs; in-place outputs change them */
export async function runGraph(
  graph: Graph,
  feeds: Readonly<Record<string, Float32Array | Int32Array>>,
  options: Partial<SessionOptions> = {},
): Promise<Record<string, Float32Array>> {
  const session = await createSession(encodeModel(graph), {
    provider: 'cpu',
    threads: 1,
    ...options,
  })
  const inputs = Object.fromEntries(
    graph.inputs.map(({ name, shape }) => [name, tensor(feeds[name]!, shape)]),
  )
  const outputs = Object.fromEntries(
    graph.outputs.map(({ name, value, inPlaceOf }) => {
      const memory = inPlaceOf && (feeds[inPlaceOf.name] as Float32Array)
      return [name, tensor(memory ?? new Float32Array(sizeOf(value.shape)), value.shape)]
    }),
  )
  try {
    await session.runInto(inputs, outputs)
  } finally {
    await session.release()
  }
  return Object.fromEntries(
    Object.entries(outputs).map(([name, { data }]) => [name, data as Float32Array]),
  )
}
