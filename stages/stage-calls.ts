/** Methods of a stage, described once for all threads that compute them. */
import type { StageConfig } from './model.ts'
import { optimizerOf } from './optimizer.ts'
import type { AnyStage, BodyStage, EndsStage, Moments, Parameter, SharedFloats } from './stage.ts'

/** Methods of a stage that compute. */
export type Calls<S extends AnyStage> = Omit<S, 'kind' | keyof Shown | 'close'>

export type Kind = AnyStage['kind']

export type StageOf<K extends Kind> = Extract<AnyStage, { kind: K }>

/** Kinds of arguments. Their lengths are checked before a call is queued. */
type Argument = 'activation' | 'tokens' | 'weights' | 'optimizer' | 'plain'

const COMMON = {
  gradientNorm: [],
  update: ['plain'],
  zeroGradients: [],
  load: ['weights', 'optimizer'],
  optimizerState: [],
} as const

const METHODS = {
  body: {
    ...COMMON,
    forward: ['activation'],
    forwardKeeping: ['activation'],
    backward: ['activation', 'activation', 'plain', 'plain'],
  } satisfies Record<keyof Calls<BodyStage>, readonly Argument[]>,
  ends: {
    ...COMMON,
    embed: ['tokens'],
    embedBackward: ['tokens', 'activation'],
    lossAndGradient: ['activation', 'tokens', 'plain'],
    loss: ['activation', 'tokens'],
  } satisfies Record<keyof Calls<EndsStage>, readonly Argument[]>,
}

/** Fields of a stage that its caller can read, whatever thread computes it. */
export interface Shown {
  readonly parameters: readonly Parameter[]
  readonly weights: SharedFloats
  readonly sums: SharedFloats
  readonly moments: Moments
}

/** Computes the methods of a stage, in this thread or another. */
export interface Host extends Shown {
  /** Calls a method. Calls run one at a time, in order. */
  call(method: string, args: readonly unknown[]): Promise<unknown>
  /** Resolves when all earlier calls have ended and all resources are free. */
  close(): Promise<void>
}

/** Error for a call to a closed stage, or to a stage whose thread has ended. */
export class StageGoneError extends Error {
  override readonly name = 'StageGoneError'
}

/** Stage whose methods a host computes. */
export function stageOn<K extends Kind>(kind: K, config: StageConfig, host: Host): StageOf<K> {
  let closing: Promise<void> | undefined
  const check = lengthCheck(config, host.weights.length)
  const method = (name: string, expected: readonly Argument[]) => {
    return async (...args: readonly unknown[]) => {
      if (closing !== undefined) throw new StageGoneError(`${name}: the stage is closed`)
      for (const [i, argument] of expected.entries()) check(name, argument, args[i])
      return host.call(name, args)
    }
  }
  const methods = Object.entries(METHODS[kind]).map(([name, expected]) => [
    name,
    method(name, expected),
  ])
  const close = () => {
    closing ??= host.close()
    return closing
  }
  const { parameters, weights, sums, moments } = host
  const shown: Shown = { parameters, weights, sums, moments }
  return { ...Object.fromEntries(methods), ...shown, kind, close } as StageOf<K>
}

function lengthCheck({ model, microbatch, optimizer }: StageConfig, weights: number) {
  const { moments } = optimizerOf(optimizer)
  const count = microbatch.batch * microbatch.context
  const lengths = { activation: count * model.hiddenSize, tokens: count, weights }
  const expectLength = (method: string, what: string, value: unknown, length: number) => {
    const actual = (value as ArrayLike<number>).length
    if (actual === length) return
    throw new RangeError(`${method}: ${what} of ${actual} elements, not ${length}`)
  }
  return (method: string, argument: Argument, value: unknown) => {
    if (argument === 'plain') return
    if (argument !== 'optimizer') return expectLength(method, argument, value, lengths[argument])
    if (value === undefined) return
    const state = value as { firstMoment: Float32Array; secondMoment: Float32Array }
    expectLength(method, 'first moment', state.firstMoment, moments.includes('first') ? weights : 0)
    expectLength(
      method,
      'second moment',
      state.secondMoment,
      moments.includes('second') ? weights : 0,
    )
  }
}
