/**
 * Measures the cost of messages on this machine by calls of the microbatch protocol over libp2p to another process.
 * Calls go one at a time, without a body and with a body of the run's size.
 * A simulation charges the processor time of both processes to its processors. The remaining wall time is the link's.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import type { Clock } from '../../../protocols/clock.ts'
import { encodeTensor, wireBytes } from '../../../protocols/codec.ts'
import { createLibp2pNetwork, type Libp2pInit } from '../../../protocols/libp2p.ts'
import { type MicrobatchHeader, microbatch } from '../../../protocols/microbatch.ts'
import { ask } from '../../../protocols/procedure.ts'
import { type Run, runId } from '../../../src/run/run.ts'
import type { MessageCost } from '../../world/message-cost.ts'
import type { Link } from '../../world/wire.ts'
import { median } from '../statistics.ts'

export const LOOPBACK: Libp2pInit = {
  listen: ['/ip4/127.0.0.1/tcp/0'],
  bootstrap: [],
  mdns: null,
}

const TIMEOUT_MS = 60_000
/** Calls that do not count, because V8 still compiles during the first few hundred. */
const WARM_UP = 400
const ROUNDS = 7
const CALLS = 100
/**
 * Fastest possible link, about as fast as memory.
 * The result has this speed if processor time accounts for all of the wall time.
 */
const BYTES_PER_MS_MAX = 10_000_000

/** Times of one call, for both processes together. */
interface CallCost {
  readonly wallMs: number
  readonly cpuMs: number
}

export interface LoopbackCosts {
  readonly link: Link
  readonly messageMs: MessageCost
}

/** Starts the second process, measures calls to it, and stops it. */
export async function measureLoopback(run: Run, clock: Clock): Promise<LoopbackCosts> {
  const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js'
  const child = fork(new URL(`./loopback-peer${extension}`, import.meta.url))
  try {
    const [address] = (await once(child, 'message')) as [string]
    const network = await createLibp2pNetwork(LOOPBACK, { clock })
    try {
      const peer = await network.connect(address, { timeoutMs: TIMEOUT_MS })
      const { header, tensor } = sample(run)
      const call = (body?: Uint8Array) =>
        ask(network, peer, microbatch, header, { body, timeoutMs: TIMEOUT_MS })
      const bare = () => call()
      const full = () => call(encodeTensor(run.wire, tensor))
      for (let i = 0; i < WARM_UP; i++) await full()
      const [bares, fulls]: [CallCost[], CallCost[]] = [[], []]
      for (let round = 0; round < ROUNDS; round++) {
        bares.push(await costOf(bare, child, clock))
        fulls.push(await costOf(full, child, clock))
      }
      return costsOf(middle(bares), middle(fulls), wireBytes(run.wire, tensor.length))
    } finally {
      await network.stop()
    }
  } finally {
    const exit = once(child, 'exit')
    child.disconnect()
    await exit
  }
}

/** Header and tensor of a microbatch of the run whose route has all body stages. */
function sample(run: Run): { header: MicrobatchHeader; tensor: Float32Array } {
  const { batch, context } = run.microbatch
  const shape = [batch, context, run.model.hiddenSize]
  const header: MicrobatchHeader = {
    run: runId(run),
    epoch: 1,
    step: 1,
    index: 0,
    attempt: 0,
    driver: 0,
    route: Array.from({ length: run.stages }, (_, i) => ({ stage: i + 1, id: i + 1 })),
    purpose: 'train',
    direction: 'forward',
    position: 0,
    dtype: run.wire,
    shape,
  }
  const elements = shape.reduce((product, size) => product * size, 1)
  return { header, tensor: Float32Array.from({ length: elements }, (_, i) => Math.sin(i)) }
}

async function costOf(
  call: () => Promise<unknown>,
  child: ChildProcess,
  clock: Clock,
): Promise<CallCost> {
  const cpu = (await cpuMs(child)) * -1
  const begun = clock.now()
  for (let i = 0; i < CALLS; i++) await call()
  const wallMs = (clock.now() - begun) / CALLS
  return { wallMs, cpuMs: (cpu + (await cpuMs(child))) / CALLS }
}

/** Processor time in milliseconds that both processes have used. */
async function cpuMs(child: ChildProcess): Promise<number> {
  const answer = once(child, 'message')
  child.send('cpu')
  const [theirs] = (await answer) as [number]
  const { user, system } = process.cpuUsage()
  return theirs + (user + system) / 1000
}

function middle(costs: readonly CallCost[]): CallCost {
  return {
    wallMs: median(costs.map(({ wallMs }) => wallMs)),
    cpuMs: median(costs.map(({ cpuMs }) => cpuMs)),
  }
}

/**
 * Costs of messages and link from a call without a body and a call with one.
 * @param bytes size of the body of the full call
 */
export function costsOf(bare: CallCost, full: CallCost, bytes: number): LoopbackCosts {
  const bodyCpuMs = Math.max(0, full.cpuMs - bare.cpuMs)
  const bodyLinkMs = full.wallMs - bare.wallMs - bodyCpuMs
  return {
    messageMs: {
      // A call has four message ends: a request and its answer, each sent and received.
      each: bare.cpuMs / 4,
      perMegabyte: bodyCpuMs / 2 / (bytes / 1e6),
    },
    link: {
      latencyMs: Math.max(0, bare.wallMs - bare.cpuMs) / 2,
      bytesPerMs: bytes / Math.max(bodyLinkMs, bytes / BYTES_PER_MS_MAX),
    },
  }
}
