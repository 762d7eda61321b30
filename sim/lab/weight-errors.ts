/** Measures how far the weights of a recovered stage are from the lost weights (CheckFree, section 4.4). */
import type { PeerId } from '../../protocols/network.ts'
import type { AnyStage } from '../../stages/stage.ts'

export class WeightErrors {
  readonly #built = new Map<string, AnyStage>()
  /** Last weights of the stages that have no holder, by index. */
  readonly #lost = new Map<number, Float32Array>()

  built(peer: PeerId, index: number, stage: AnyStage): void {
    this.#built.set(`${peer} ${index}`, stage)
  }

  /** Called when the last holder of a stage is lost. */
  lost(peer: PeerId, index: number): void {
    // A second loss before the recovery takes no trained weights with it, so the first weights stay.
    if (this.#lost.has(index)) return
    const stage = this.#built.get(`${peer} ${index}`)
    if (stage !== undefined) this.#lost.set(index, Float32Array.from(stage.weights))
  }

  /** Relative error of a recovered stage, ‖new − lost‖ / ‖lost‖; null if the lost weights are not known. */
  held(peer: PeerId, index: number): number | null {
    const lost = this.#lost.get(index)
    const stage = this.#built.get(`${peer} ${index}`)
    this.#lost.delete(index)
    return lost === undefined || stage === undefined ? null : relativeError(stage.weights, lost)
  }
}

/** Relative error of the weights in L2 norms, over all weights. */
export function relativeError(weights: Float32Array, reference: Float32Array): number {
  let difference = 0
  let norm = 0
  for (let i = 0; i < reference.length; i++) {
    difference += (weights[i]! - reference[i]!) ** 2
    norm += reference[i]! ** 2
  }
  return Math.sqrt(difference / norm)
}
