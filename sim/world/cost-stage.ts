/**
 * A stage that only takes time. Its arithmetic records what was done. An activation tells its microbatch and the stages
 * that it visited. A gradient sum tells the microbatches that it counts. Weights tell the sums of all their updates, in
 * order. All values are integers below 2^24, which float32 holds exactly. So sums do not depend on their order, and
 * messages must travel as float32.
 *
 * | tensor            | elements                                                                   |
 * |-------------------|----------------------------------------------------------------------------|
 * | tokens, targets   | step, microbatch, 0 ...                                                    |
 * | activation        | step, microbatch, trail (a hash of the visited stages, in order), 0 ...    |
 * | gradient sums     | count, step (modulo 4096) times count, two sums of fingerprints            |
 * | weights           | a hash of the sums of each update, element by element                      |
 */
import { normalOrder, type Order } from '../../src/coordinator/journeys.ts'
import type {
  Moments,
  OptimizerState,
  Parameter,
  SharedFloats,
  Update,
} from '../../stages/stage.ts'
import { type AnyStage, type BodyStage, type EndsStage, sharedFloats } from '../../stages/stage.ts'
import type { Machine } from './machine.ts'
import { withShakenNumbers } from './shaken-stage.ts'
import type { StageMethod } from './stage.ts'

/** Elements of the flat weights and of the gradient sums. */
export const COST_WEIGHTS = 4

/** The largest prime below 2^16. 31 times this prime is well below 2^24. */
const TRAIL_MODULUS = 65_521
/** Trail of an embedded microbatch. Any number but 0 would do. */
const EMBEDDED = 1
/** The largest prime below 2^22, so that float32 holds 3 times a weight and a sum exactly. */
const WEIGHT_MODULUS = 4_194_301
/** The fingerprints of 4096 microbatches add up to less than 2^24. */
const FINGERPRINT_MODULUS = 4_096

export interface CostStageOptions {
  readonly machine: Machine
  /** Milliseconds of the machine's clock, if the machine is sound. */
  readonly costMs: (method: StageMethod) => number
  /** Number of body stages, to know the route that a microbatch must have taken. */
  readonly stages: number
  /** The orders of stages that a step's microbatches visit. Left out: all microbatches visit them in the normal order. */
  readonly ordersOf?: ((step: number) => readonly Order[]) | undefined
  /** Elements of an activation, at least 3. */
  readonly elements: number
  /** Called before an error is thrown: a stage was visited twice, out of order, or left out. */
  readonly violated?: ((what: string) => void) | undefined
  /** Called at each update, with the sums that go into it. */
  readonly updated?: ((sums: readonly number[], update: Update) => void) | undefined
}

/** The values that a microbatch adds to the gradient sums of every stage. */
function contribution(step: number, index: number): number[] {
  return [
    1,
    step % FINGERPRINT_MODULUS,
    fingerprint(step, index, 0x9e3779b1),
    fingerprint(step, index, 0x85ebca77),
  ]
}

/** The gradient sums of a step that counts each of these microbatches once. */
export function sumsOf(step: number, indices: Iterable<number>): number[] {
  const sums = new Array<number>(COST_WEIGHTS).fill(0)
  for (const index of indices) {
    for (const [i, value] of contribution(step, index).entries()) sums[i]! += value
  }
  return sums
}

/** The weights after an update with these sums. The order of updates matters. */
export function updatedWeights(weights: ArrayLike<number>, sums: ArrayLike<number>): Float32Array {
  return Float32Array.from(weights, (weight, i) => (3 * weight + sums[i]!) % WEIGHT_MODULUS)
}

/** The initial weights of a stage. */
export function initialWeights(stage: number): number[] {
  return Array.from({ length: COST_WEIGHTS }, (_, i) => fingerprint(stage, i, 0xc2b2ae3d))
}

/** Tokens and targets of a microbatch, which name its step and index. @param length at least 2 */
export function costTokens(step: number, index: number, length: number): Int32Array {
  const tokens = new Int32Array(length)
  tokens.set([step, index])
  return tokens
}

/** The trail of an activation that has visited these stages, in order. */
function trailOf(stages: Iterable<number>): number {
  let trail = EMBEDDED
  for (const stage of stages) trail = onward(trail, stage)
  return trail
}

/**
 * Stage 0 is the ends, all others are body stages. A stage does one call at a time, in order, on a machine that may be
 * slow or frozen. Inputs must not change before their call has ended.
 */
export function createCostStage(stage: number, options: CostStageOptions): AnyStage {
  return withShakenNumbers(stage === 0 ? ends(options) : body(stage, options))
}

function body(stage: number, options: CostStageOptions): BodyStage {
  const state = new CostState(stage, options)
  const { device } = state
  const forward = (input: Float32Array): Promise<Float32Array> =>
    device('forward', () => state.passed(input, stage))
  return {
    ...state.common(),
    kind: 'body',
    forward,
    forwardKeeping: async (input) => ({ output: await forward(input), kept: {} }),
    backward: (input, outputGradient, _, count = true) =>
      device('backward', () => {
        state.same(input, outputGradient)
        if (count) state.count(input)
        return state.passed(outputGradient, stage)
      }),
  }
}

function ends(options: CostStageOptions): EndsStage {
  const { stages, elements, ordersOf } = options
  const state = new CostState(0, options)
  const { device } = state
  const normal = normalOrder(stages)
  /** Checks the trail of a microbatch on its way out, or on its way back from the loss. */
  const arrived = (input: Float32Array, way: 'out' | 'home', order: Order) => {
    const stages = way === 'out' ? order : [...order, ...order.toReversed()]
    state.arrived(input, trailOf(stages))
  }
  const orderOf = ([step, index]: Float32Array) => ordersOf?.(step!)[index!] ?? normal
  return {
    ...state.common(),
    kind: 'ends',
    embed: (tokens) =>
      device('embed', () => {
        const output = new Float32Array(elements)
        output.set([tokens[0]!, tokens[1]!, EMBEDDED])
        return output
      }),
    embedBackward: (tokens, outputGradient) =>
      device('embedBackward', () => {
        state.same(tokens, outputGradient)
        arrived(outputGradient, 'home', orderOf(outputGradient))
      }),
    lossAndGradient: (input, targets, count = true) =>
      device('lossAndGradient', () => {
        state.same(targets, input)
        arrived(input, 'out', orderOf(input))
        if (count) state.count(input)
        return { loss: 1, inputGradient: input.slice() }
      }),
    loss: (input, targets) =>
      device('loss', () => {
        state.same(targets, input)
        arrived(input, 'out', normal)
        return 1
      }),
  }
}

/** The parts that both kinds share: weights, sums, and a device that does one call at a time. */
class CostState {
  readonly #options: CostStageOptions
  readonly #stage: number
  readonly #weights: SharedFloats = sharedFloats(COST_WEIGHTS)
  readonly #sums: SharedFloats = sharedFloats(COST_WEIGHTS)
  readonly #moments: Moments = {
    firstMoment: sharedFloats(COST_WEIGHTS),
    secondMoment: sharedFloats(COST_WEIGHTS),
  }
  #updates = 0
  #freeAt = 0
  #closed = false

  constructor(stage: number, options: CostStageOptions) {
    this.#stage = stage
    this.#options = options
    this.#weights.set(initialWeights(stage))
  }

  /** Takes the method's time, then does its work. */
  readonly device = <T>(method: StageMethod, work: () => T): Promise<T> => {
    const { machine, costMs } = this.#options
    if (this.#closed) return Promise.reject(new Error(`stage ${this.#stage} is closed`))
    const now = machine.clock.now()
    this.#freeAt = Math.max(now, this.#freeAt) + costMs(method) * machine.slowness
    return new Promise((resolve, reject) => {
      machine.schedule(this.#freeAt - now, method, () => {
        try {
          resolve(work())
        } catch (error) {
          reject(error)
        }
      })
    })
  }

  /** The activation or gradient that leaves the stage. */
  passed(tensor: Float32Array, stage: number): Float32Array {
    const output = tensor.slice()
    output[2] = onward(tensor[2]!, stage)
    return output
  }

  count([step, index]: Float32Array): void {
    for (const [i, value] of contribution(step!, index!).entries()) this.#sums[i]! += value
  }

  /** Checks that two tensors belong to the same microbatch. */
  same(one: ArrayLike<number>, other: ArrayLike<number>): void {
    if (one[0] === other[0] && one[1] === other[1]) return
    this.#violation(
      `step ${one[0]} microbatch ${one[1]} is mixed up with step ${other[0]} microbatch ${other[1]}`,
    )
  }

  /** Checks that the activation has visited each stage once, in order. */
  arrived([step, index, trail]: Float32Array, expected: number): void {
    if (trail === expected) return
    this.#violation(
      `step ${step} microbatch ${index} came by another way than through each stage once`,
    )
  }

  common() {
    const { device } = this
    const parameters: readonly Parameter[] = [
      { name: `cost.${this.#stage}`, shape: [COST_WEIGHTS], offset: 0, length: COST_WEIGHTS },
    ]
    return {
      parameters,
      weights: this.#weights,
      sums: this.#sums,
      moments: this.#moments,
      gradientNorm: () => device('gradientNorm', () => Math.hypot(...this.#sums)),
      update: (update: Update) => device('update', () => this.#update(update)),
      zeroGradients: () => device('zeroGradients', () => this.#zero()),
      load: (weights: Float32Array, optimizer?: OptimizerState) =>
        device('load', () => {
          this.#weights.set(weights)
          const { firstMoment } = this.#moments
          if (optimizer === undefined) firstMoment.fill(0)
          else firstMoment.set(optimizer.firstMoment)
          this.#updates = optimizer?.updates ?? 0
          this.#zero()
        }),
      optimizerState: () =>
        device('optimizerState', () => ({
          firstMoment: this.#moments.firstMoment.slice(),
          secondMoment: this.#moments.secondMoment.slice(),
          updates: this.#updates,
        })),
      close: async () => {
        this.#closed = true
      },
    }
  }

  #update(update: Update): void {
    this.#options.updated?.([...this.#sums], update)
    this.#weights.set(updatedWeights(this.#weights, this.#sums))
    // The moment holds the last sums: state that must travel together with the weights.
    this.#moments.firstMoment.set(this.#sums)
    this.#updates++
    this.#zero()
  }

  #zero(): void {
    this.#sums.fill(0)
  }

  #violation(what: string): never {
    const message = `stage ${this.#stage}: ${what}`
    this.#options.violated?.(message)
    throw new Error(message)
  }
}

function onward(trail: number, stage: number): number {
  return (31 * trail + stage) % TRAIL_MODULUS
}

function fingerprint(a: number, b: number, salt: number): number {
  let mixed = Math.imul(a ^ salt, 0x27d4eb2f) ^ Math.imul(b + 1, 0x165667b1)
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x2c1b3c6d)
  mixed = Math.imul(mixed ^ (mixed >>> 12), 0x297a2d39)
  return ((mixed ^ (mixed >>> 15)) >>> 0) % FINGERPRINT_MODULUS
}
