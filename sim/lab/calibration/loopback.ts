/**
 * What messages cost on this machine: calls of the microbatch's own protocol over libp2p to another process, without a
 * body and with one of the run's size, one at a time. Processor time of both processes is work that a simulation charges
 * its processor for; what the clock says beyond it is the link.
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
/** V8 goes on compiling for the first some hundred. */
const WARM_UP = 400
const ROUNDS = 7
const CALLS = 100
/** What no link is faster than: memory. Where the clock says nothing beyond processor time, this is the link. */
const BYTES_PER_MS_MAX = 10_000_000

/** Of one call, both processes together. */
interface CallCost {
  readonly wallMs: number
  readonly cpuMs: number
}

export interface LoopbackCosts {
  readonly link: Link
  readonly messageMs: MessageCost
}

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

/** As a microbatch of the run that has all body stages before it. */
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

/** That both processes have used. */
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

/** @param bytes of the full call's body */
export function costsOf(bare: CallCost, full: CallCost, bytes: number): LoopbackCosts {
  const bodyCpuMs = Math.max(0, full.cpuMs - bare.cpuMs)
  const bodyLinkMs = full.wallMs - bare.wallMs - bodyCpuMs
  return {
    messageMs: {
      // A question and its answer, each sent and received.
      each: bare.cpuMs / 4,
      perMegabyte: bodyCpuMs / 2 / (bytes / 1e6),
    },
    link: {
      latencyMs: Math.max(0, bare.wallMs - bare.cpuMs) / 2,
      bytesPerMs: bytes / Math.max(bodyLinkMs, bytes / BYTES_PER_MS_MAX),
    },
  }
}
