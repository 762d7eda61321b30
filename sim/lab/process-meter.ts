/** What a trial costs the process that plays it, in the steps after the first: before that the stages are built. */
import type { AnyStage } from '../../stages/stage.ts'

export interface ProcessCosts {
  /** Processor seconds of a step. */
  readonly cpuSeconds: number
  /** Processor seconds of a step in which no stage computes. */
  readonly otherCpuSeconds: number
  /**
   * Bytes in array buffers after the last step: what stages exchange and keep, with memory of theirs that waits to be used
   * again. What ONNX Runtime computes on is not among them.
   */
  readonly bufferBytes: number
}

export class ProcessMeter {
  readonly #last: number
  #steps = 0
  #firstCpu = cpuSeconds()
  /** Stages that compute now, and since when at least one does. */
  #computing = 0
  #since = 0
  #stageCpu = 0
  #bufferBytes = 0

  /** @param last the step at which memory is measured */
  constructor(last: number) {
    this.#last = last
  }

  /** The same stage, whose methods are measured. */
  wrap<S extends AnyStage>(stage: S): S {
    return new Proxy(stage, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name, target)
        if (typeof value !== 'function') return value
        return async (...inputs: unknown[]) => {
          this.#begin()
          try {
            return await value.apply(target, inputs)
          } finally {
            this.#end()
          }
        }
      },
    })
  }

  /** Another step is made. */
  step(): void {
    this.#steps++
    if (this.#steps === this.#last) this.#bufferBytes = usedBuffers()
    if (this.#steps > 1) return
    this.#firstCpu = cpuSeconds()
    this.#stageCpu = 0
  }

  costs(): ProcessCosts {
    const steps = Math.max(1, this.#steps - 1)
    const cpu = cpuSeconds() - this.#firstCpu
    return {
      cpuSeconds: cpu / steps,
      otherCpuSeconds: (cpu - this.#stageCpu) / steps,
      bufferBytes: this.#bufferBytes,
    }
  }

  #begin(): void {
    if (this.#computing++ === 0) this.#since = cpuSeconds()
  }

  #end(): void {
    if (--this.#computing === 0) this.#stageCpu += cpuSeconds() - this.#since
  }
}

/** Processor seconds that this process has used. */
function cpuSeconds(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}

/** Bytes in array buffers that are in use: exact if the process was started with `--expose-gc`. */
function usedBuffers(): number {
  globalThis.gc?.()
  // The first collection frees in the background; the second one waits for it.
  globalThis.gc?.()
  return process.memoryUsage().arrayBuffers
}
