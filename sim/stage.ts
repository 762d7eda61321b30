/** A real stage in a virtual world: it computes while time stands still, and then has taken the time it is said to. */
import type { AnyStage, BodyStage, EndsStage } from '../stages/stage.ts'
import type { World } from './world.ts'

type MethodsOf<S> = {
  [K in keyof S]: S[K] extends (...inputs: never[]) => Promise<unknown> ? K : never
}[keyof S]

/** Whatever a stage of either kind can be asked to do. */
export type StageMethod = MethodsOf<BodyStage> | MethodsOf<EndsStage>

type AnyMethod = (...inputs: unknown[]) => Promise<unknown>

/**
 * The stage as before, except that each method takes `costMs` of virtual time. Like a device it does one thing at a
 * time, in the order of the calls; inputs must stay as they are until then.
 */
export function timedStage<S extends AnyStage>(
  stage: S,
  world: World,
  costMs: (method: StageMethod) => number,
): S {
  let freeAt = 0
  // A proxy, so that a method added to the interface is timed without a line here.
  return new Proxy(stage, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      const method = name as StageMethod
      return (...inputs: unknown[]) => {
        const now = world.clock.now()
        freeAt = Math.max(now, freeAt) + costMs(method)
        return world.compute(freeAt - now, method, () => (value as AnyMethod).apply(target, inputs))
      }
    },
  })
}
