/** Stages that compute and data to learn from, for peers of a virtual swarm that train for real. */
import { type Corpus, heldOutMicrobatch, microbatch } from '../src/data/corpus.ts'
import type { BatchSource } from '../src/run/batch-source.ts'
import { type Run, stageConfig } from '../src/run/run.ts'
import { createLocalStage } from '../stages/onnx-stage.ts'
import { Random } from '../stages/random.ts'
import type { AnyStage } from '../stages/stage.ts'
import type { Host, StageBuilder } from './virtual-swarm.ts'
import { type StageMethod, sharingStage, timedStage } from './world/stage.ts'

export interface LearningStages {
  readonly run: Run
  /** Milliseconds of virtual time that a method takes on a host. */
  readonly costMs: (method: StageMethod | 'build', host: Host) => number
  /** Creates the stage. The default computes in this thread. */
  readonly create?: typeof createLocalStage | undefined
  /** Wraps each stage. The wrapper runs within the time that the stage takes. */
  readonly wrap?: ((stage: AnyStage, index: number, host: Host) => AnyStage) | undefined
}

/** Builds every stage of the simulator that computes with real tensors. */
export function learningStages({
  run,
  costMs,
  create = createLocalStage,
  wrap = (stage) => stage,
}: LearningStages): StageBuilder {
  return async (host, index) => {
    const { name, world, process } = host
    const build = () =>
      create(stageConfig(run), index, {
        provider: 'cpu',
        threads: 1,
        random: new Random(run.seed),
      })
    const ms = (method: StageMethod | 'build') => costMs(method, host)
    const label = `${name} builds stage ${index}`
    const built = await (process?.run(ms('build'), label, build) ??
      world.compute(ms('build'), label, build))
    const stage = wrap(built, index, host)
    return process === null ? timedStage(stage, world, ms) : sharingStage(stage, process, ms)
  }
}

/** Gives the microbatches of a text. */
export function corpusBatches(run: Run, corpus: Corpus): BatchSource {
  return {
    training: (step, index) => microbatch(run, corpus, step, index),
    heldOut: (index) => heldOutMicrobatch(run, corpus, index),
  }
}
