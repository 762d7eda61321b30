/**
 * `npm run sim:scale`: swarms of hundreds and thousands of virtual peers under churn, with the node's own code; what a
 * step costs their coordinator, and this machine. Of several sizes (`--peers 100,1000`) the questions that a coordinator
 * asks a step and peer must not differ by more than a factor: messages grow with the peers, not with their square.
 * A thousand questions at once outlive a young generation of V8's usual 16 MiB; 64 save a tenth of the processor time.
 */
import { Command } from 'commander'
import { systemClock } from '../protocols/clock.ts'
import { ProtocolError } from '../protocols/errors.ts'
import type { PeerId } from '../protocols/network.ts'
import { createJournal, type Entry } from '../src/journal.ts'
import { runNode } from '../src/node.ts'
import { runId } from '../src/run.ts'
import { runSchema } from '../src/run-schema.ts'
import { createTerminal } from '../src/terminal.ts'
import { costTokens, createCostStage } from './cost-stage.ts'
import { VirtualNetwork } from './network.ts'
import { World } from './world.ts'

const FORWARD_MS = 20
const BUILD_MS = 1_000
const LINK = { latencyMs: 20, bytesPerMs: 12_500 }
const HOUR_MS = 3_600_000
/** Elements of an activation. */
const ELEMENTS = 8
const FOUNDER = 'peer-0'
/** The most that two sizes of swarms may differ in the questions of a step and peer. */
const LINEAR_FACTOR = 3

const terminal = createTerminal({ json: false })
const options = new Command('sim:scale')
  .option('--peers <n,n>', 'sizes of swarms', '1000')
  .option('--stages <n>', 'body stages', '64')
  .option('--steps <n>', 'steps', '200')
  .option('--microbatches <n>', 'of a step', '8')
  .option('--churn <share>', 'peers that go away in an hour', '0.16')
  .parse()
  .opts<{ peers: string; stages: string; steps: string; microbatches: string; churn: string }>()

const questions: number[] = []
for (const peers of options.peers.split(',')) questions.push(await play(Number(peers)))
const factor = Math.max(...questions) / Math.min(...questions)
if (factor > LINEAR_FACTOR) {
  const reason = `a step and peer costs ${factor.toFixed(1)} times as many questions in one size as in another: more than ${LINEAR_FACTOR}`
  throw new Error(reason)
}

/** @returns questions of the coordinator, a step and peer */
async function play(peers: number): Promise<number> {
  const stages = Number(options.stages)
  const run = runSchema.parse({
    format: 'gensyn-run',
    version: 1,
    steps: Number(options.steps),
    stages,
    spares: Math.ceil(peers / 50),
    microbatches: Number(options.microbatches),
    model: { layers: stages, hiddenSize: 4, heads: 1, keyValueHeads: 1 },
    microbatch: { batch: 1, context: 2 },
    data: { source: 'file:none', sha256: '0'.repeat(64), bytes: 1 },
    evaluation: { everySteps: 100, microbatches: 2 },
  })
  const begun = systemClock.now()
  const cpu = process.cpuUsage()
  const world = new World({ seed: peers, eventsMax: Infinity })
  const random = world.random.stream('churn')
  const network = new VirtualNetwork({
    world,
    links: () => LINK,
    gossip: false,
    shareHeaders: true,
  })
  const counts = new Map<Entry['type'], number>()
  const asked = { coordinator: 0, all: 0 }
  let coordinator: PeerId = FOUNDER
  /** What was asked until the first step was made, and until the latest. */
  let first = { at: 0, ...asked }
  let last = first
  let named = 0
  const over = Promise.withResolvers<void>()

  const record = (entry: Entry) => {
    counts.set(entry.type, (counts.get(entry.type) ?? 0) + 1)
    if (entry.type === 'roster') coordinator = entry.peer
    if (entry.type !== 'step') return
    last = { at: entry.at, ...asked }
    if (entry.step === 1) first = last
  }
  const start = () => {
    const name = `peer-${named++}`
    const own = network.join(name)
    const { machine } = own
    const call = own.call.bind(own)
    own.call = (...question) => {
      asked.all++
      if (name === coordinator) asked.coordinator++
      return call(...question)
    }
    let founds = name === FOUNDER
    const finished = runNode({
      run,
      runId: runId(run),
      network: own,
      clock: machine.clock,
      journal: createJournal(name, () => world.clock.now(), [record]),
      wish: null,
      lastStep: run.steps,
      signal: new AbortController().signal,
      discover: async (enter) => {
        if (founds) {
          founds = false
          return null
        }
        for (;;) {
          const contact = network.living.length > 0 ? coordinator : FOUNDER
          try {
            const peer = await own.connect(`sim://${contact}`, { timeoutMs: 5_000 })
            const found = await enter(peer)
            if (found !== null) return found
          } catch (error) {
            if (!(error instanceof ProtocolError)) throw error
          }
          await machine.clock.sleep(1_000)
        }
      },
      createStage: async (index) => {
        await machine.clock.sleep(BUILD_MS)
        return createCostStage(index, {
          machine,
          costMs: () => FORWARD_MS,
          stages,
          elements: ELEMENTS,
        })
      },
      loadData: async () => ({
        training: (step, index) => ({
          tokens: costTokens(step, index, 2),
          targets: costTokens(step, index, 2),
        }),
        heldOut: (index) => ({ tokens: costTokens(0, index, 2), targets: costTokens(0, index, 2) }),
      }),
    })
    finished.then(
      ({ failure }) => {
        if (failure === null) over.resolve()
        else over.reject(new Error(`${name}: ${failure}`))
      },
      (error) => over.reject(error),
    )
    // It lives for an exponential time; another joins in its place.
    const lifeMs = (-Math.log(1 - random.float()) * HOUR_MS) / Number(options.churn)
    world.schedule(lifeMs, `${name} goes`, () => {
      if (!network.living.includes(name)) return
      network.crash(name)
      start()
    })
  }

  for (let i = 0; i < peers; i++) start()
  await world.run(over.promise, { waitingFor: 'the run to finish' })
  const seconds = (systemClock.now() - begun) / 1000
  const steps = run.steps - 1
  const of = (type: Entry['type']) => counts.get(type) ?? 0
  const { user, system } = process.cpuUsage(cpu)
  const perStep = (last.coordinator - first.coordinator) / steps
  const ofAll = (last.all - first.all) / steps
  terminal.line(
    [
      `${peers} peers, ${stages} stages, ${run.steps} steps`,
      `${seconds.toFixed(0)} s (${((user + system) / 1e6).toFixed(0)} s of processor time), ${Math.round(world.fired / 1000)} thousand events, ${Math.round(world.fired / seconds)} a second`,
      `${Math.round((last.at - first.at) / 1000)} virtual seconds from the first step to the last`,
      `${of('lost')} lost, ${of('elected')} took notice of another coordinator, ${of('aborted')} steps started over, ${of('amended')} mended`,
      `the coordinator asks ${perStep.toFixed(0)} questions a step, ${(perStep / peers).toFixed(2)} a peer; all members ${(ofAll / peers).toFixed(2)} a peer`,
      `${Math.round(process.memoryUsage().rss / 2 ** 20)} MiB`,
    ].join('; '),
  )
  return perStep / peers
}
