/** CheckFree+'s swapped order is a permutation for half of the microbatches. The gradient is that of the swapped model. */
import { describe, expect, test } from 'vitest'
import { normalOrder, ordersOf, swappedOrder } from '../../src/coordinator/journeys.ts'
import { microbatch } from '../../src/data/corpus.ts'
import { Random } from '../../stages/random.ts'
import type { Parameter } from '../../stages/stage.ts'
import { tinyCorpus, tinyRecovery, tinyRun } from '../fixtures/swarm.ts'
import { TestSwarm } from '../fixtures/virtual-swarm.ts'
import { referenceLogits, referenceLoss } from '../stages/reference-llama.ts'

describe('the order of the body stages', () => {
  test.each([4, 5, 6, 7, 12])(
    'with %i of them visits each once, the edges in the other order',
    (stages) => {
      const order = swappedOrder(stages)
      expect(order.toSorted((a, b) => a - b)).toEqual(normalOrder(stages))
      expect(order.slice(0, 2)).toEqual([2, 1])
      expect(order.slice(-2)).toEqual([stages, stages - 1])
      expect(order.slice(2, -2)).toEqual(normalOrder(stages).slice(2, -2))
    },
  )

  test('is swapped for every other microbatch of the run, if the policy asks for it', () => {
    const swaps = { recovery: tinyRecovery({ policy: ['checkfree+'] }) }
    for (const microbatches of [1, 2, 3, 4]) {
      const run = tinyRun({ microbatches, ...swaps })
      const orders = [1, 2, 3, 4].flatMap((step) => ordersOf(run, step))
      const swapped = orders.filter(([first]) => first === 2)
      expect(swapped.length).toBe(2 * microbatches)
    }
    const plain = ordersOf(tinyRun({ microbatches: 4 }), 1)
    expect(plain).toEqual(plain.map(() => [1, 2, 3, 4]))
  })
})

const run = tinyRun({
  steps: 1,
  recovery: tinyRecovery({ policy: ['checkfree+'] }),
  // One step of plain gradient descent with a rate of 1 subtracts the gradient from the weights.
  optimizer: {
    ...tinyRun().optimizer,
    kind: 'sgd',
    learningRate: 1,
    warmupSteps: 0,
    beta1: 0,
    clipNorm: 1e9,
  },
})

test('the gradient of a step is that of a float64 reference which visits the layers in these orders', async () => {
  const swarm = new TestSwarm(run)
  const before = new Map<string, Float64Array>()
  const after = new Map<string, Float64Array>()
  const read = (peer: string, into: Map<string, Float64Array>) => {
    const { parameters, weights } = swarm.stages.get(peer)!
    for (const { name, offset, length } of parameters as readonly Parameter[]) {
      into.set(name, Float64Array.from(weights.subarray(offset, offset + length)))
    }
  }
  swarm.onEntry((entry) => {
    if (entry.type === 'held') read(entry.by, before)
    if (entry.type === 'committed') read(entry.peer, after)
  })
  for (let i = 1; i <= run.stages + 1; i++) swarm.join(`peer-${i}`)
  await swarm.end()
  expect([...after.keys()].toSorted()).toEqual([...before.keys()].toSorted())

  const { hiddenSize, layers, heads, keyValueHeads, ropeTheta, rmsNormEps } = run.model
  const config = {
    ...{ hiddenSize, layers, heads, keyValueHeads, ropeTheta, rmsNormEps },
    headSize: hiddenSize / heads,
    tied: false,
  }
  const { context } = run.microbatch
  const loss = () => {
    const losses = ordersOf(run, 1).flatMap((order, index) => {
      const { tokens, targets } = microbatch(run, tinyCorpus(), 1, index)
      // Each stage has one layer. The reference's n-th layer is the layer of the n-th stage on the route.
      const weight = (name: string) =>
        before.get(name.replace(/layers\.(\d+)\./, (_, n) => `layers.${order[Number(n)]! - 1}.`))!
      return Array.from({ length: run.microbatch.batch }, (_, row) => {
        const own = (all: Int32Array) => all.subarray(row * context, (row + 1) * context)
        return referenceLoss(referenceLogits(config, weight, own(tokens)), own(targets))
      })
    })
    return losses.reduce((sum, each) => sum + each, 0) / losses.length
  }
  const random = new Random('entries')
  const names = [...before.keys()].filter((name) => !name.includes('embed_tokens'))
  for (let i = 0; i < 16; i++) {
    const name = names[(i * 7) % names.length]!
    const tensor = before.get(name)!
    const at = random.integer(tensor.length)
    const gradient = tensor[at]! - after.get(name)![at]!
    const middle = tensor[at]!
    const losses = [1e-3, -1e-3].map((step) => {
      tensor[at] = middle + step
      return loss()
    })
    tensor[at] = middle
    const expected = (losses[0]! - losses[1]!) / 2e-3
    // Float32 weights of up to 1 have a resolution of 6e-8.
    expect(Math.abs(gradient - expected), name).toBeLessThan(1e-4 * Math.abs(expected) + 1.5e-7)
  }
})
