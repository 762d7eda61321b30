/** A process of memory-plan.test.ts: it runs a stage with some microbatches in flight, and prints its peak memory in bytes. */
import type { StageConfig } from '../../stages/model.ts'
import { createLocalStage } from '../../stages/onnx-stage.ts'
import { Random } from '../../stages/random.ts'
import type { BodyStage, EndsStage } from '../../stages/stage.ts'

const { config, index, threads, microbatches } = JSON.parse(process.argv[2]!) as {
  config: StageConfig
  index: number
  threads: number
  microbatches: number
}
const options = { provider: 'cpu', threads, random: new Random('memory') } as const
const stage = await createLocalStage(config, index, options)
const tokens = config.microbatch.batch * config.microbatch.context
const activation = () => new Float32Array(tokens * config.model.hiddenSize).fill(0.01)

async function trainBody(body: BodyStage): Promise<void> {
  // The forward pass of an evaluation.
  await body.forward(activation())
  const inFlight = []
  for (let i = 0; i < microbatches; i++) {
    const input = activation()
    inFlight.push({ input, ...(await body.forwardKeeping(input)) })
  }
  for (const { input, output, kept } of inFlight) await body.backward(input, output, kept)
}

async function trainEnds(ends: EndsStage): Promise<void> {
  const targets = new Int32Array(tokens)
  const embedded = await ends.embed(targets)
  await ends.loss(embedded, targets)
  const { inputGradient } = await ends.lossAndGradient(embedded, targets)
  await ends.embedBackward(targets, inputGradient)
}

await (stage.kind === 'body' ? trainBody(stage) : trainEnds(stage))
await stage.update({ gradientScale: 1, learningRate: 0 })
// Node reports kilobytes on every platform.
console.log(process.resourceUsage().maxRSS * 1024)
await stage.close()
