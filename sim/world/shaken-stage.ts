/**
 * Stages of another machine. Two processors round differently, so what they compute differs in the last place. A shaken
 * stage moves every number that a stage computes by -1, 0 or 1 units in the last place (ulp). What holds of a history
 * under several seeds does not depend on how one processor rounds.
 *
 * A draw depends on the seed, the bits of the number and its place in the tensor. So one seed is one machine:
 * - The same inputs give the same outputs, in whatever stage, order or thread they are computed.
 * - Replicas and understudies that apply the same total to the same state end with the same bits.
 * - State that is loaded or handed out is not computed and keeps its bits.
 *
 * Zeros stay: a mask or an untouched row is exactly zero on any machine. The tensors that a forward keeps for its backward
 * stay, too: they never leave the machine.
 */
import { SerialQueue } from '../../stages/serial-queue.ts'
import type { AnyStage } from '../../stages/stage.ts'

/** Whole numbers from 1; unset or empty leaves all numbers as they are. */
const SEED = seedOf(process.env.GENSYN_SHAKE_SEED)

/** Name of the machine that this process plays; null for the real one. Caches keep the outcomes of each machine apart. */
export const MACHINE = SEED === null ? null : `shaken-${SEED}`

/** The live tensors of a stage that a method adds to or overwrites. All other methods leave them alone. */
const CHANGED: Readonly<Record<string, (stage: AnyStage) => readonly Float32Array[]>> = {
  backward: ({ sums }) => [sums],
  embedBackward: ({ sums }) => [sums],
  lossAndGradient: ({ sums }) => [sums],
  update: ({ weights, moments }) => [weights, moments.firstMoment, moments.secondMoment],
}

/** Methods that give tensors which were computed. */
const TENSORS: ReadonlySet<string> = new Set([
  'forward',
  'forwardKeeping',
  'backward',
  'embed',
  'lossAndGradient',
])

/** Methods that give a number which was computed. */
const NUMBERS: ReadonlySet<string> = new Set(['lossAndGradient', 'loss', 'gradientNorm'])

/** The stage on the machine of GENSYN_SHAKE_SEED; the stage itself if that is not set. */
export function shaken<S extends AnyStage>(stage: S): S {
  return SEED === null ? stage : shakenBy(SEED, stage)
}

/** The same for a stage whose tensors are codes and not measurements: its losses and norms alone are moved. */
export function withShakenNumbers<S extends AnyStage>(stage: S): S {
  if (SEED === null) return stage
  const seed = SEED
  return wrapped(stage, async (name, work) => {
    const outcome = await work()
    return NUMBERS.has(name) ? shakenOutcome(seed, outcome, false) : outcome
  })
}

/** The stage on the machine of `seed`. */
export function shakenBy<S extends AnyStage>(seed: number, stage: S): S {
  // One call at a time: another one would change the live tensors between the two looks at them.
  const calls = new SerialQueue()
  return wrapped(stage, (name, work) =>
    calls.take(async () => {
      const live = CHANGED[name]?.(stage) ?? []
      const before = live.map((tensor) => tensor.slice())
      const outcome = await work()
      for (const [i, tensor] of live.entries()) shakeTensor(seed, tensor, before[i])
      return NUMBERS.has(name) || TENSORS.has(name) ? shakenOutcome(seed, outcome, true) : outcome
    }),
  )
}

type Work = () => Promise<unknown>

function wrapped<S extends AnyStage>(
  stage: S,
  call: (name: string, work: Work) => Promise<unknown>,
): S {
  return new Proxy(stage, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      return (...inputs: unknown[]) => call(String(name), () => value.apply(target, inputs))
    },
  })
}

/** Moves a number, a tensor, or what an object holds of either. Tensors belong to the caller, so they are moved in place. */
function shakenOutcome(seed: number, outcome: unknown, tensors: boolean): unknown {
  if (typeof outcome === 'number') return shakenNumber(seed, outcome)
  if (outcome instanceof Float32Array) {
    if (tensors) shakeTensor(seed, outcome)
    return outcome
  }
  const { loss, output, inputGradient } = outcome as Record<string, unknown>
  for (const tensor of [output, inputGradient]) {
    if (tensor instanceof Float32Array) shakenOutcome(seed, tensor, tensors)
  }
  return typeof loss === 'number'
    ? { ...(outcome as object), loss: shakenNumber(seed, loss) }
    : outcome
}

/** @param before what the tensor was: elements that are the same were not computed */
export function shakeTensor(seed: number, tensor: Float32Array, before?: Float32Array): void {
  const bits = new Int32Array(tensor.buffer, tensor.byteOffset, tensor.length)
  const old = before && new Int32Array(before.buffer, before.byteOffset, before.length)
  for (let i = 0; i < bits.length; i++) {
    if (bits[i] === old?.[i] || tensor[i] === 0 || !Number.isFinite(tensor[i])) continue
    bits[i]! += drawn(seed, bits[i]!, i)
  }
}

/** A float32 stays one. */
export function shakenNumber(seed: number, value: number): number {
  if (value === 0 || !Number.isFinite(value)) return value
  if (Math.fround(value) === value) {
    const one = Float32Array.of(value)
    shakeTensor(seed, one)
    return one[0]!
  }
  const bits = new BigInt64Array(Float64Array.of(value).buffer)
  bits[0]! += BigInt(drawn(seed, Number(bits[0]! & 0xffff_ffffn), 0))
  return new Float64Array(bits.buffer)[0]!
}

/** -1, 0 or 1. */
function drawn(seed: number, bits: number, place: number): number {
  let mixed =
    Math.imul(bits ^ Math.imul(seed, 0x9e3779b1), 0x85ebca6b) ^ Math.imul(place + 1, 0xc2b2ae35)
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x2c1b3c6d)
  mixed = Math.imul(mixed ^ (mixed >>> 12), 0x297a2d39)
  return (((mixed ^ (mixed >>> 15)) >>> 0) % 3) - 1
}

function seedOf(text: string | undefined): number | null {
  if (text === undefined || text === '') return null
  const seed = Number(text)
  if (Number.isInteger(seed) && seed > 0) return seed
  throw new Error(`GENSYN_SHAKE_SEED=${text}: a whole number from 1 is needed`)
}
