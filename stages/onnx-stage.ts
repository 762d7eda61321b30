/** A stage computed by ONNX Runtime in this thread. A run blocks the thread. */
import { Engine, type StageOptions } from './engine.ts'
import { KeptRoom } from './kept-room.ts'
import type { StageConfig } from './model.ts'
import { ENDS, layoutOf } from './parameters.ts'
import { bodyPrograms, endsPrograms } from './programs.ts'
import { SerialQueue } from './serial-queue.ts'
import type { AnyStage, BodyStage, EndsStage } from './stage.ts'
import { type Calls, type Kind, type StageOf, stageOn } from './stage-calls.ts'

/** Stage 0 is the ends, all others are body stages. */
export type StageAt<N extends number> = number extends N
  ? AnyStage
  : N extends typeof ENDS
    ? EndsStage
    : BodyStage

export async function createLocalStage<N extends number>(
  config: StageConfig,
  stage: N,
  options: StageOptions,
): Promise<StageAt<N>> {
  const created = stage === ENDS ? ends(config, options) : body(config, stage, options)
  return (await created) as StageAt<N>
}

/** Methods of one kind of stage that need more than the flat buffers. */
type Own<K extends Kind> = Omit<Calls<StageOf<K>>, keyof Calls<AnyStage>>

async function body(config: StageConfig, stage: number, options: StageOptions): Promise<BodyStage> {
  const engine = await Engine.create(config, stage, bodyPrograms, options)
  const keeps = (config.keep ?? 'none') !== 'none'
  const room = new KeptRoom(() => engine.newKept('forwardKeeping'))
  const forwardKeeping = async (input: Float32Array) => {
    const output = engine.newActivation()
    const kept = room.take()
    await engine.run('forwardKeeping', { input }, { ...kept, output })
    return { output, kept }
  }
  return local('body', config, stage, engine, {
    forwardKeeping,
    async forward(input) {
      const output = engine.newActivation()
      await engine.run('forward', { input }, { output })
      return output
    },
    async backward(input, outputGradient, given, count = true) {
      const kept = given ?? (keeps ? (await forwardKeeping(input)).kept : {})
      room.check(kept)
      const inputGradient = engine.newActivation()
      const feeds = { ...kept, input, outputGradient }
      await engine.run('backward', feeds, { inputGradient }, count)
      room.give(kept)
      return inputGradient
    },
  })
}

async function ends(config: StageConfig, options: StageOptions): Promise<EndsStage> {
  const engine = await Engine.create(config, ENDS, endsPrograms, options)
  return local('ends', config, ENDS, engine, {
    async embed(tokens) {
      engine.checkTokens(tokens)
      const output = engine.newActivation()
      await engine.run('embed', { tokens }, { output })
      return output
    },
    async embedBackward(tokens, outputGradient) {
      engine.checkTokens(tokens)
      await engine.run('embedBackward', { tokens, outputGradient }, {})
    },
    async lossAndGradient(input, targets, count = true) {
      engine.checkTokens(targets)
      const loss = new Float32Array(engine.runsOf('lossAndGradient'))
      const inputGradient = engine.newActivation()
      await engine.run('lossAndGradient', { input, targets }, { loss, inputGradient }, count)
      return { loss: sum(loss), inputGradient }
    },
    async loss(input, targets) {
      engine.checkTokens(targets)
      const loss = new Float32Array(engine.runsOf('loss'))
      await engine.run('loss', { input, targets }, { loss })
      return sum(loss)
    },
  })
}

function sum(parts: Float32Array): number {
  return parts.reduce((total, part) => total + part, 0)
}

/** Stage of an engine. @param own methods of its kind; the methods on the flat buffers are the same for all kinds */
function local<K extends Kind>(
  kind: K,
  config: StageConfig,
  stage: number,
  engine: Engine<string>,
  own: Own<K>,
): StageOf<K> {
  const { state } = engine
  const queue = new SerialQueue()
  const methods = {
    ...own,
    gradientNorm: () => state.gradientNorm(),
    update: (update: Parameters<AnyStage['update']>[0]) => state.update(update),
    zeroGradients: () => state.zeroGradients(),
    load: (...args: Parameters<AnyStage['load']>) => state.load(...args),
    optimizerState: () => state.optimizerState(),
  } as Record<string, (...args: readonly unknown[]) => unknown>
  return stageOn(kind, config, {
    parameters: layoutOf(config, stage).parameters,
    weights: state.weights,
    sums: state.sums,
    moments: state.moments,
    call: (method, args) => queue.take(() => methods[method]!(...args)),
    close: () => queue.take(() => engine.release()),
  })
}
