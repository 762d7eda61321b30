/** Runs a graph once in ONNX Runtime. */
import type { Graph } from '../../stages/graph.ts'
import { encodeModel } from '../../stages/onnx.ts'
import { createSession, type Elements, type SessionOptions, tensor } from '../../stages/session.ts'
import { sizeOf } from '../../stages/shape.ts'

/**
 * Contents of the outputs by name, with the bits of float16.
 * @param feeds contents of the inputs, which in-place outputs change
 */
export async function runGraph(
  graph: Graph,
  feeds: Readonly<Record<string, Elements>>,
  options: Partial<SessionOptions> = {},
): Promise<Record<string, Float32Array | Uint16Array>> {
  const session = await createSession(encodeModel(graph), {
    provider: 'cpu',
    threads: 1,
    ...options,
  })
  const inputs = Object.fromEntries(
    graph.inputs.map(({ name, shape }) => [name, tensor(feeds[name]!, shape)]),
  )
  const results = Object.fromEntries(
    graph.outputs.map(({ name, value, inPlaceOf }) => {
      const length = sizeOf(value.shape)
      const own = value.dtype === 'float16' ? new Uint16Array(length) : new Float32Array(length)
      return [name, (inPlaceOf && (feeds[inPlaceOf.name] as Float32Array)) ?? own]
    }),
  )
  const outputs = Object.fromEntries(
    graph.outputs.map(({ name, value }) => [name, tensor(results[name]!, value.shape)]),
  )
  try {
    await session.runInto(inputs, outputs)
  } finally {
    await session.release()
  }
  return results
}
