/** A real stage in virtual time: it computes while time stands still, and each call takes the stated time. */

import { SerialQueue } from '../../stages/serial-queue.ts'
import type { AnyStage, BodyStage, EndsStage } from '../../stages/stage.ts'
import type { Process } from './processor.ts'
import { shaken } from './shaken-stage.ts'
import type { World } from './world.ts'

type MethodsOf<S> = {
  [K in keyof S]: S[K] extends (...inputs: never[]) => Promise<unknown> ? K : never
}[keyof S]

/** Any method of a stage of either kind. */
export type StageMethod = MethodsOf<BodyStage> | MethodsOf<EndsStage>

type AnyMethod = (...inputs: unknown[]) => Promise<unknown>

/** Does the real work of a call and lets the call take `ms` of virtual time. */
type Device = <T>(method: StageMethod, ms: number, work: () => Promise<T>) => Promise<T>

/**
 * The stage with methods that take `costMs` of virtual time each. Like a device, it does one call at a time, in order.
 * Inputs must not change before their call has ended.
 */
export function timedStage<S extends AnyStage>(
  stage: S,
  world: World,
  costMs: (method: StageMethod) => number,
): S {
  let freeAt = 0
  return timed(stage, costMs, (method, ms, work) => {
    const now = world.clock.now()
    freeAt = Math.max(now, freeAt) + ms
    return world.compute(freeAt - now, method, work)
  })
}

/** The same for a stage in a thread of `process`, which shares cores with other processes. */
export function sharingStage<S extends AnyStage>(
  stage: S,
  process: Process,
  costMs: (method: StageMethod) => number,
): S {
  const turns = new SerialQueue()
  return timed(stage, costMs, (method, ms, work) => turns.take(() => process.run(ms, method, work)))
}

function timed<S extends AnyStage>(
  stage: S,
  costMs: (method: StageMethod) => number,
  device: Device,
): S {
  // A proxy, so that a method added to the interface is timed without a line here.
  return new Proxy(shaken(stage), {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      const method = name as StageMethod
      return (...inputs: unknown[]) =>
        device(method, costMs(method), () => (value as AnyMethod).apply(target, inputs))
    },
  })
}
