/**
 * `npm run sim:scale` plays swarms of hundreds and thousands of virtual peers under churn, with the node's own code. It
 * prints what a step costs the coordinator and this machine. With several sizes (`--peers 100,1000`) the coordinator's
 * questions for each step and peer may differ by at most a factor. Messages therefore grow with the peers and not with
 * their square. A thousand pending questions outlive V8's usual young generation of 16 MiB. A young generation of 64 MiB
 * saves processor time.
 *
 * `--compare` plays each size for `--hours` twice, with the node's own code and with the model of `sim/lab/scale/`. It
 * prints both results. `--model` plays the model alone, which can take thousands of peers for days.
 */
import { Command } from 'commander'
import { systemClock } from '../protocols/clock.ts'
import { createTerminal } from '../src/base/terminal.ts'
import { policyOf } from '../src/recovery/index.ts'
import { type Compared, playNodesOf, settingOf } from './lab/scale/compare.ts'
import { exponentialLosses } from './lab/scale/lifetimes.ts'
import { playScale } from './lab/scale/play.ts'
import { costRun, type NodeSwarm, playNodes } from './node-swarm.ts'

const METHOD_MS = 20
const BUILD_MS = 1_000
const LINK = { latencyMs: 20, bytesPerMs: 12_500 }
const DAY_HOURS = 24
/** Largest ratio between two sizes of swarms in questions for each step and peer. */
const LINEAR_FACTOR = 3

const terminal = createTerminal({ json: false })
const options = new Command('sim:scale')
  .option('--peers <n,n>', 'sizes of swarms', '1000')
  .option('--stages <n>', 'body stages', '64')
  .option('--steps <n>', 'steps, where the node plays alone', '200')
  .option('--microbatches <n>', 'of a step', '8')
  .option('--churn <share>', 'peers that go away in an hour', '0.16')
  .option('--hours <n>', 'virtual ones, where the model plays', String(DAY_HOURS))
  .option('--strategy <name>', 'the first of the policy, where the model plays', 'auto')
  .option('--compare', 'node and model side by side')
  .option('--model', 'the model alone')
  .parse()
  .opts<{
    peers: string
    stages: string
    steps: string
    microbatches: string
    churn: string
    hours: string
    strategy: string
    compare?: true
    model?: true
  }>()

const sizes = options.peers.split(',').map(Number)
if (options.model || options.compare) for (const peers of sizes) await playBoth(peers)
else await playSizes()

async function playSizes(): Promise<void> {
  const questions: number[] = []
  for (const peers of sizes) questions.push(await play(peers))
  const factor = Math.max(...questions) / Math.min(...questions)
  if (factor > LINEAR_FACTOR) {
    const reason = `a step and peer costs ${factor.toFixed(1)} times as many questions in one size as in another: more than ${LINEAR_FACTOR}`
    throw new Error(reason)
  }
}

/** @returns the coordinator's questions for each step and peer */
async function play(peers: number): Promise<number> {
  const settings = {
    steps: Number(options.steps),
    stages: Number(options.stages),
    microbatches: Number(options.microbatches),
    spares: Math.ceil(peers / 50),
  }
  const run = costRun(settings)
  const measured = measure()
  const hourly = Number(options.churn)
  const losses = exponentialLosses({ peers, hours: DAY_HOURS, hourly }, peers)
  const swarm = await playNodes({
    run,
    peers,
    seed: peers,
    link: LINK,
    costMs: (method) => (method === 'build' ? BUILD_MS : METHOD_MS),
    speeds: [1],
    bodyScale: 1,
    warmSteps: 1,
    losses,
    untilHours: DAY_HOURS,
  })
  const { madeAt, asked, events } = swarm
  const { seconds, cost } = measured(events)
  const steps = madeAt.length - 1
  const perStep = asked.coordinator / steps
  const virtual = Math.round((madeAt.at(-1)! - madeAt[0]!) / 1000)
  terminal.line(
    [
      `${peers} peers, ${run.stages} stages, ${run.steps} steps`,
      `${cost}, ${Math.round(events / seconds)} a second`,
      `${virtual} virtual seconds from the first step to the last`,
      happened(swarm),
      `the coordinator asks ${perStep.toFixed(0)} questions a step, ${(perStep / peers).toFixed(2)} a peer; all members ${(asked.all / steps / peers).toFixed(2)} a peer`,
      memory(),
    ].join('; '),
  )
  return perStep / peers
}

async function playBoth(peers: number): Promise<void> {
  const hours = Number(options.hours)
  const hourly = Number(options.churn)
  const compared: Compared = {
    peers,
    stages: Number(options.stages),
    spares: Math.ceil(peers / 50),
    microbatches: Number(options.microbatches),
    policy: policyOf(options.strategy),
    hours,
    losses: exponentialLosses({ peers, hours, hourly }, peers),
    speeds: [1],
    bodyScale: 1,
  }
  terminal.line(
    `${peers} peers, ${compared.stages} stages, ${compared.microbatches} microbatches, ${hours} hours, ${compared.losses.length} losses drawn`,
  )
  const model = measure()
  const { trial, idlePeers, undisturbedSeconds, events } = playScale(settingOf(compared))
  terminal.line(
    [
      `  model: ${trial.iterations} iterations, of ${undisturbedSeconds.toFixed(3)} s where nothing fails; goodput ${trial.goodput.toFixed(3)}`,
      `${trial.losses.length} stages lost, ${trial.recoveries.length} recovered`,
      `${idlePeers.toFixed(1)} peers without a stage`,
      model(events).cost,
      memory(),
      ...(trial.failure === null ? [] : [trial.failure]),
    ].join('; '),
  )
  if (!options.compare) return
  const node = measure()
  const swarm = await playNodesOf(compared)
  const { madeAt, emptied, recoveries } = swarm
  const off = (100 * (trial.iterations - madeAt.length)) / madeAt.length
  terminal.line(
    [
      `  node:  ${madeAt.length} iterations; the model is ${off.toFixed(1)} % off`,
      `${emptied.length} stages lost, ${recoveries.length} recovered`,
      happened(swarm),
      node(swarm.events).cost,
      memory(),
    ].join('; '),
  )
}

function happened({ counts }: NodeSwarm): string {
  const of = (type: 'lost' | 'elected' | 'aborted' | 'amended') => counts.get(type) ?? 0
  return `${of('lost')} lost, ${of('elected')} took notice of another coordinator, ${of('aborted')} steps started over, ${of('amended')} mended`
}

/** Measures from the time of the call. */
function measure() {
  const begun = systemClock.now()
  const cpu = process.cpuUsage()
  return (events: number) => {
    const seconds = (systemClock.now() - begun) / 1000
    const { user, system } = process.cpuUsage(cpu)
    const busy = ((user + system) / 1e6).toFixed(0)
    const cost = `${seconds.toFixed(0)} s (${busy} s of processor time), ${Math.round(events / 1000)} thousand events`
    return { seconds, cost }
  }
}

function memory(): string {
  return `${Math.round(process.memoryUsage().rss / 2 ** 20)} MiB`
}
