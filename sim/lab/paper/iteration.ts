/**
 * Simulates one iteration of the paper's protocol, event by event, on the network and processors of its testbed.
 * The laboratory takes the duration of an iteration from here.
 * The duration agrees with the paper's, which shows that network and compute times are set as in the paper.
 *
 * The testbed has 21 nodes, three for each stage. Stage 0 has embedding and head.
 * Each node of stage 0 drives its microbatches along a fixed route and computes their loss itself.
 * Then all nodes of a stage send each other their whole gradients.
 * The iteration ends when the last gradient has arrived. No transfer slows down another one.
 */
import { Wire } from '../../world/wire.ts'
import { World } from '../../world/world.ts'
import { paperLinks } from './regions.ts'

const MIB = 1024 ** 2

/** Parameters of the paper's protocol and testbed. */
export const PAPER_PROTOCOL = {
  /** Number of stages, including stage 0 with embedding and head. */
  stages: 7,
  /** Number of nodes of each stage. */
  replicas: 3,
  /** Number of microbatches that each node of stage 0 drives in an iteration. */
  microbatches: 6,
  /** Number of microbatches of a driver that are in flight at once. */
  inFlight: 3,
  /** Size of an activation: 8 sequences of 1024 tokens with 1024 values each, in float32. */
  activationBytes: 32 * MIB,
  /** Size of the gradient of a stage's weights, in float32. */
  gradientBytes: 256 * MIB,
  /** Pause before each iteration. */
  sleepMs: 10_000,
  /**
   * Time of a forward pass of a microbatch through a stage of four layers.
   * Computation of the ends is not counted.
   */
  forwardMs: 400,
  /** Time of a backward pass of a microbatch through a stage of four layers. */
  backwardMs: 800,
  /** Delays up to this one are ignored. */
  ignoredDelayMs: 200,
}

export interface PaperIteration {
  readonly seconds: number
  /** Seconds from the start of the first microbatch to the end of the last. */
  readonly microbatchesSeconds: number
  /** Seconds from there until all gradients have arrived. */
  readonly exchangeSeconds: number
}

/**
 * Simulates one iteration in virtual time.
 * Long because all its steps share the clock, the wire and the state of the nodes.
 */
export async function playPaperIteration(
  overrides: Partial<typeof PAPER_PROTOCOL> = {},
): Promise<PaperIteration> {
  const protocol = { ...PAPER_PROTOCOL, ...overrides }
  const { stages, replicas, microbatches, inFlight, forwardMs, backwardMs } = protocol
  const world = new World({ seed: 1 })
  const { clock } = world
  const links = paperLinks('none')
  const wire = new Wire((from, to) => links(Number(from), Number(to)))
  /** Time at which each node has finished the work assigned to it. */
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
    // The driver computes the loss, and then its gradient takes the route backwards.
    await hop(at, driver)
    at = driver
    for (const node of route.reverse()) {
      await hop(at, node)
      await compute(node, backwardMs)
      at = node
    }
    await hop(at, driver)
  }
  /** Drives the microbatches of a node of stage 0, which starts the next one when one has returned. */
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
