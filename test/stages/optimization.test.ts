/** ONNX Runtime rewrites graphs during loading. The results must stay the same. */
import { expect, it } from 'vitest'
import { LIMITS } from '../../stages/chunks.ts'
import type { Graph } from '../../stages/graph.ts'
import type { StageConfig } from '../../stages/model.ts'
import { encodeModel } from '../../stages/onnx.ts'
import {
  OPTIMIZER_KINDS,
  type OptimizerKind,
  sumOfSquaresProgram,
  updateProgram,
} from '../../stages/optimizer.ts'
import { bodyPrograms, endsPrograms } from '../../stages/programs.ts'
import { Random } from '../../stages/random.ts'
import { NO_SCALING } from '../../stages/rope.ts'
import { sizeOf } from '../../stages/shape.ts'
import { config } from './fixtures.ts'
import { interpret } from './interpreter.ts'
import { runGraph } from './run-graph.ts'

/** A Llama with all options: its own head size, one key head, scaled frequencies, tied embeddings. */
const broad: StageConfig = {
  ...config,
  model: {
    ...config.model,
    headSize: 10,
    keyValueHeads: 1,
    ropeScaling: { ...NO_SCALING, type: 'llama3', factor: 4, originalContext: 16 },
    tiedEmbeddings: true,
  },
}

const programsOf = (name: string, of: StageConfig): [string, Graph][] =>
  Object.entries({ ...bodyPrograms(of, 2, LIMITS), ...endsPrograms(of, 2, LIMITS) }).map(
    ([program, graph]) => [`${program} of ${name}`, graph],
  )

const updateOf = (kind: OptimizerKind) => updateProgram({ ...config.optimizer, kind }, 32)

const programs: [string, Graph][] = [
  ...programsOf('a small Llama', config),
  ...programsOf('a broad one', broad),
  ...OPTIMIZER_KINDS.map((kind): [string, Graph] => [kind, updateOf(kind)]),
  ['sumOfSquares', sumOfSquaresProgram(32)],
]

/** Random inputs. Only the second moments must not be negative. */
function feedsOf(graph: Graph): Record<string, Float32Array | Int32Array> {
  const random = new Random('optimization')
  return Object.fromEntries(
    graph.inputs.map(({ name, dtype, shape }) => {
      const length = sizeOf(shape)
      return [
        name,
        dtype === 'int32'
          ? Int32Array.from({ length }, () => random.integer(config.model.vocabSize))
          : Float32Array.from({ length }, () =>
              name === 'second' ? random.float() : random.gaussian(),
            ),
      ]
    }),
  )
}

it.each(programs)('%s is the same at every level, and what float64 gives', async (_, graph) => {
  const values = interpret(graph, feedsOf(graph) as Record<string, Float32Array>)
  for (const optimization of ['disabled', 'basic', 'all'] as const) {
    const results = await runGraph(graph, feedsOf(graph), { optimization })
    for (const { name, value } of graph.outputs) {
      expect(results[name]!).toBeAllclose(values.get(value)!.data, { relative: 1e-4 })
    }
  }
})

it.each(OPTIMIZER_KINDS)(
  '%s updates weights to the same bits at every level: replicas must stay equal',
  async (kind) => {
    const graph = updateOf(kind)
    const [plain, rewritten] = [
      await runGraph(graph, feedsOf(graph), { optimization: 'disabled' }),
      await runGraph(graph, feedsOf(graph), { optimization: 'all', threads: 2 }),
    ]
    expect(rewritten).toEqual(plain)
  },
)

it('keeps models small: no constant grows with the square of the context', () => {
  const long = { ...config, microbatch: { batch: 1, context: 512 } }
  const { backward } = bodyPrograms(long, 1, LIMITS)
  expect(encodeModel(backward).length).toBeLessThan(100_000)
})
