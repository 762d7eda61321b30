/** Measures the cost of a trial in its process, in the steps after the first. Stages are built before that. */
import type { AnyStage } from '../../stages/stage.ts'

export interface ProcessCosts {
  /** Processor seconds of a step. */
  readonly cpuSeconds: number
  /** Processor seconds of a step during which no stage computes. */
  readonly otherCpuSeconds: number
  /**
   * Bytes in array buffers after the last step. The number covers what stages exchange and keep, and freed memory that
   * stages keep for reuse. The memory in which ONNX Runtime computes is not counted.
   */
  readonly bufferBytes: number
}

export class ProcessMeter {
  readonly #last: number
  #steps = 0
  #firstCpu = cpuSeconds()
  /** Number of stages that compute now, and the time since which at least one computes. */
  #computing = 0
  #since = 0
  #stageCpu = 0
  #bufferBytes = 0

  /** @param last the step at which memory is measured */
  constructor(last: number) {
    this.#last = last
  }

  /** Wraps a stage, so that its methods are measured. */
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

  /** Called after each step. */
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
  // The first collection frees memory in the background, and the second one waits for the first.
  globalThis.gc?.()
  return process.memoryUsage().arrayBuffers
}
