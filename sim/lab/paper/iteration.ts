/**
 * One iteration of the paper's own protocol, played event by event: what its testbed's network and processors make of it.
 * The laboratory takes its seconds an iteration from here, and that they are the paper's shows that network and compute
 * times are set as they were there.
 *
 * 21 nodes, three a stage. Stage 0 has embedding and head; each of its nodes drives its microbatches along a fixed route
 * and computes their loss itself. Then all nodes of a stage send each other their whole gradients, and the iteration is
 * over when the last of them has come. No transfer slows another down.
 */
import { Wire } from '../../world/wire.ts'
import { World } from '../../world/world.ts'
import { paperLinks } from './regions.ts'

const MIB = 1024 ** 2

export const PAPER_PROTOCOL = {
  /** With embedding and head. */
  stages: 7,
  /** Nodes a stage. */
  replicas: 3,
  /** Of each node of stage 0. */
  microbatches: 6,
  /** Of them, on their way at once. */
  inFlight: 3,
  /** 8 sequences of 1024 tokens, 1024 wide, in float32. */
  activationBytes: 32 * MIB,
  /** Of a stage's weights, in float32. */
  gradientBytes: 256 * MIB,
  /** Before each iteration. */
  sleepMs: 10_000,
  /** Of a microbatch in a stage of four layers; what the ends compute is not counted. */
  forwardMs: 400,
  backwardMs: 800,
  /** Shorter delays are left out. */
  ignoredDelayMs: 200,
}

export interface PaperIteration {
  readonly seconds: number
  /** From the first microbatch to the last. */
  readonly microbatchesSeconds: number
  /** From there until all gradients are everywhere. */
  readonly exchangeSeconds: number
}

export async function playPaperIteration(
  overrides: Partial<typeof PAPER_PROTOCOL> = {},
): Promise<PaperIteration> {
  const protocol = { ...PAPER_PROTOCOL, ...overrides }
  const { stages, replicas, microbatches, inFlight, forwardMs, backwardMs } = protocol
  const world = new World({ seed: 1 })
  const { clock } = world
  const links = paperLinks('none')
  const wire = new Wire((from, to) => links(Number(from), Number(to)))
  /** When each node is done with what it has been given. */
  const freeAt = new Array<number>(stages * replicas).fill(0)

  const compute = (node: number, ms: number) => {
    freeAt[node] = Math.max(clock.now(), freeAt[node]!) + ms
    return clock.sleep(freeAt[node]! - clock.now())
  }
  const send = (from: number, to: number, bodyBytes: number) => {
    const load = { headBytes: 0, bodyBytes }
    const ms = wire.transitMs(clock.now(), String(from), String(to), load)
    return clock.sleep(ms > protocol.ignoredDelayMs ? ms : 0)
  }

  const microbatch = async (driver: number) => {
    const route = Array.from({ length: stages - 1 }, (_, i) => driver + (i + 1) * replicas)
    const hop = (from: number, to: number) => send(from, to, protocol.activationBytes)
    let at = driver
    for (const node of route) {
      await hop(at, node)
      await compute(node, forwardMs)
      at = node
    }
    // To the loss, and with its gradient back.
    await hop(at, driver)
    at = driver
    for (const node of route.reverse()) {
      await hop(at, node)
      await compute(node, backwardMs)
      at = node
    }
    await hop(at, driver)
  }
  /** A node of stage 0 starts the next microbatch when one has come home. */
  const drive = async (driver: number) => {
    let left = microbatches
    const lane = async () => {
      while (left-- > 0) await microbatch(driver)
    }
    await Promise.all(Array.from({ length: inFlight }, lane))
  }
  const exchange = async () => {
    const nodes = freeAt.map((_, node) => node)
    const isPeer = (a: number, b: number) =>
      a !== b && Math.floor(a / replicas) === Math.floor(b / replicas)
    await Promise.all(
      nodes.flatMap((from) =>
        nodes.filter((to) => isPeer(from, to)).map((to) => send(from, to, protocol.gradientBytes)),
      ),
    )
  }

  const iteration = async (): Promise<PaperIteration> => {
    await clock.sleep(protocol.sleepMs)
    const begun = clock.now()
    await Promise.all(Array.from({ length: replicas }, (_, driver) => drive(driver)))
    const turned = clock.now()
    await exchange()
    const seconds = clock.now() / 1000
    return {
      seconds,
      microbatchesSeconds: (turned - begun) / 1000,
      exchangeSeconds: seconds - turned / 1000,
    }
  }
  return world.run(iteration(), { waitingFor: 'the iteration' })
}
