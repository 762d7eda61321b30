/** Fifty steps of a small Llama with four stages. golden/losses-50.json has the losses of the unchanged one. */
import { LIMITS, type Limits } from '../../stages/chunks.ts'
import type { Keep, KeepDtype } from '../../stages/keep.ts'
import { createLocalStage } from '../../stages/onnx-stage.ts'
import type { BodyStage } from '../../stages/stage.ts'
import { config, options, tokens } from './fixtures.ts'

export const STEPS = 50

/**
 * Loss of each step on the same microbatch, through three body stages.
 * @param travel applied to each activation or gradient between two stages
 */
export async function lossCurve({
  keep = 'none',
  keepDtype = 'float32',
  limits = LIMITS,
  travel = (tensor) => tensor,
}: {
  readonly keep?: Keep
  readonly keepDtype?: KeepDtype
  readonly limits?: Limits
  readonly travel?: (tensor: Float32Array) => Float32Array
}): Promise<number[]> {
  const each = { ...options, limits }
  const ends = await createLocalStage(config, 0, each)
  const body: BodyStage[] = []
  for (const stage of [1, 2, 3]) {
    body.push((await createLocalStage({ ...config, keep, keepDtype }, stage, each)) as BodyStage)
  }
  const losses: number[] = []
  for (let step = 0; step < STEPS; step++) {
    const inputs = [travel(await ends.embed(tokens('t')))]
    const kept = []
    for (const stage of body) {
      const forward = await stage.forwardKeeping(inputs.at(-1)!)
      inputs.push(travel(forward.output))
      kept.push(forward.kept)
    }
    const { loss, inputGradient } = await ends.lossAndGradient(inputs.at(-1)!, tokens('u'))
    losses.push(loss)
    let gradient = travel(inputGradient)
    for (const i of [2, 1, 0]) {
      gradient = travel(await body[i]!.backward(inputs[i]!, gradient, kept[i]!))
    }
    await ends.embedBackward(tokens('t'), gradient)
    for (const stage of [ends, ...body]) {
      await stage.update({ gradientScale: 1, learningRate: 1e-3 })
    }
  }
  for (const stage of [ends, ...body]) await stage.close()
  return losses
}
