/** Stages of a machine with bad memory: what they compute is not finite. */
import type { AnyStage } from '../../stages/stage.ts'
import type { Flaws } from '../faults.ts'

/** The stage of a peer. While the peer is unsound, tensors and numbers that the stage gives are not finite. */
export function flawedStage(stage: AnyStage, flaws: Flaws): AnyStage {
  return new Proxy(stage, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name)
      if (typeof value !== 'function' || !COMPUTES.has(String(name))) return value
      return async (...inputs: unknown[]) => {
        const outcome: unknown = await value.apply(target, inputs)
        return flaws.isUnsound ? spoilt(outcome) : outcome
      }
    },
  })
}

/** Methods whose outcomes go to other peers. */
const COMPUTES: ReadonlySet<string> = new Set([
  'forward',
  'forwardKeeping',
  'backward',
  'embed',
  'lossAndGradient',
  'loss',
  'gradientNorm',
])

/** The tensors and numbers of an outcome are not finite afterwards. */
function spoilt(outcome: unknown): unknown {
  if (typeof outcome === 'number') return Number.NaN
  if (outcome instanceof Float32Array) return outcome.fill(Number.NaN)
  if (typeof outcome !== 'object' || outcome === null) return outcome
  return Object.fromEntries(Object.entries(outcome).map(([key, value]) => [key, spoilt(value)]))
}
