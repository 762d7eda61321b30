/** The memory plan, compared with the measured peak of a process. */
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { planMemory } from '../../stages/memory-plan.ts'
import type { StageConfig } from '../../stages/model.ts'
import { config } from '../stages/fixtures.ts'

const CHILD = fileURLToPath(new URL('./memory-child.ts', import.meta.url))

function configOf(hiddenSize: number, layers: number, context: number, batch: number): StageConfig {
  const heads = hiddenSize / 64
  const intermediateSize = (hiddenSize * 43) / 16
  return {
    ...config,
    model: {
      ...config.model,
      vocabSize: 32_000,
      hiddenSize,
      intermediateSize,
      layers,
      heads,
      keyValueHeads: heads,
    },
    microbatch: { batch, context },
    bodyStages: 1,
  }
}

const FLOAT16 = { keep: 'all', keepDtype: 'float16' } as const

const cases: [string, StageConfig, number][] = [
  ['six narrow layers', configOf(128, 6, 128, 16), 1],
  ['two layers of 512', configOf(512, 2, 512, 2), 1],
  ['ends of 32,000 tokens', configOf(256, 1, 1024, 1), 0],
  ['everything kept', { ...configOf(128, 6, 128, 16), keep: 'all' }, 1],
  ['everything kept as float16', { ...configOf(128, 6, 128, 16), ...FLOAT16 }, 1],
  ['streamed attention', configOf(256, 1, 4096, 1), 1],
  ['streamed attention, its output kept', { ...configOf(256, 1, 4096, 1), keep: 'attention' }, 1],
]

it.each(cases)('the plan is within 15 percent of the measured peak for %s', (_, of, index) => {
  const options = { threads: 2, microbatches: 3 }
  const input = JSON.stringify({ config: of, index, ...options })
  // Without the compile cache, as at a first start, which needs more memory than a later one.
  const env = { ...process.env, NODE_DISABLE_COMPILE_CACHE: '1' }
  const child = execFileSync(process.execPath, [CHILD, input], { encoding: 'utf8', env })
  const measured = Number(child)
  const { peak } = planMemory(of, index, options)
  expect(peak / measured).toBeGreaterThan(0.85)
  expect(peak / measured).toBeLessThan(1.15)
})

it('the plan counts the kept activations of each microbatch in flight', () => {
  const plan = (keep: 'none' | 'attention', microbatches: number) =>
    planMemory({ ...config, keep }, 1, { threads: 1, microbatches }).inFlight
  const { microbatch, model, bodyStages } = config
  const activation = microbatch.batch * microbatch.context * model.hiddenSize * 4
  expect(plan('none', 3)).toBe(5 * activation)
  const layers = model.layers / bodyStages
  expect(plan('attention', 3) - plan('none', 3)).toBe(3 * layers * activation)
})
