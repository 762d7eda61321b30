/**
 * The same training in one process, without a network: the reference for losses in the tests and for speed in the benchmarks.
 * It shares the stages and the data with the node, and nothing of the step loop.
 */
import type { Corpus } from '../src/data/corpus.ts'
import { microbatch } from '../src/data/corpus.ts'
import { type Run, stageConfig } from '../src/run/run.ts'
import { learningRateAt } from '../src/run/schedule.ts'
import { clipFactor, wholeNorm } from '../stages/clip.ts'
import { createLocalStage } from '../stages/onnx-stage.ts'
import { Random } from '../stages/random.ts'
import type { AnyStage, BodyStage, EndsStage } from '../stages/stage.ts'

export interface SingleProcess {
  readonly ends: EndsStage
  readonly body: readonly BodyStage[]
  /** Runs one step and returns its loss, in nats a token. Steps count from 1. */
  step(step: number): Promise<number>
  close(): Promise<void>
}

export async function createSingleProcess(
  run: Run,
  corpus: Corpus,
  threads: number,
): Promise<SingleProcess> {
  const config = stageConfig(run)
  const options = { provider: 'cpu', threads, random: new Random(run.seed) } as const
  const ends = await createLocalStage(config, 0, options)
  const body: BodyStage[] = []
  for (let stage = 1; stage <= run.stages; stage++) {
    body.push((await createLocalStage(config, stage, options)) as BodyStage)
  }
  const all: AnyStage[] = [ends, ...body]

  return {
    ends,
    body,
    async step(step) {
      let loss = 0
      for (let index = 0; index < run.microbatches; index++) {
        const { tokens, targets } = microbatch(run, corpus, step, index)
        let hidden = await ends.embed(tokens)
        const backwards: ((gradient: Float32Array) => Promise<Float32Array>)[] = []
        for (const stage of body) {
          const input = hidden
          const { output, kept } = await stage.forwardKeeping(input)
          backwards.push((gradient) => stage.backward(input, gradient, kept))
          hidden = output
        }
        const turned = await ends.lossAndGradient(hidden, targets)
        let gradient = turned.inputGradient
        for (const backward of backwards.reverse()) gradient = await backward(gradient)
        await ends.embedBackward(tokens, gradient)
        loss += turned.loss / run.microbatches
      }
      const norms: number[] = []
      for (const stage of all) norms.push((await stage.gradientNorm()) / run.microbatches)
      const whole = wholeNorm(norms)
      for (const [i, stage] of all.entries()) {
        const { clip, clipNorm } = run.optimizer
        await stage.update({
          learningRate: learningRateAt(run.optimizer, step, run.steps),
          gradientScale:
            clipFactor(clip === 'whole' ? whole : norms[i]!, clipNorm) / run.microbatches,
        })
      }
      return loss
    },
    async close() {
      for (const stage of all) await stage.close()
    },
  }
}
