/** How far the weights of a stage that was brought back are from those that were lost (CheckFree, section 4.4). */
import type { PeerId } from '../../protocols/network.ts'
import type { AnyStage } from '../../stages/stage.ts'

export class WeightErrors {
  readonly #built = new Map<string, AnyStage>()
  /** Of stages that nobody holds, as they were. */
  readonly #lost = new Map<number, Float32Array>()

  built(peer: PeerId, index: number, stage: AnyStage): void {
    this.#built.set(`${peer} ${index}`, stage)
  }

  /** Its last holder vanishes. */
  lost(peer: PeerId, index: number): void {
    // Who vanishes before the stage is held again takes nothing with it that had been trained.
    if (this.#lost.has(index)) return
    const stage = this.#built.get(`${peer} ${index}`)
    if (stage !== undefined) this.#lost.set(index, Float32Array.from(stage.weights))
  }

  /** Of a stage that is held again: ‖new − lost‖ / ‖lost‖; null if what was lost is not known. */
  held(peer: PeerId, index: number): number | null {
    const lost = this.#lost.get(index)
    const stage = this.#built.get(`${peer} ${index}`)
    this.#lost.delete(index)
    return lost === undefined || stage === undefined ? null : relativeError(stage.weights, lost)
  }
}

/** L2 norms, over all weights. */
export function relativeError(weights: Float32Array, reference: Float32Array): number {
  let difference = 0
  let norm = 0
  for (let i = 0; i < reference.length; i++) {
    difference += (weights[i]! - reference[i]!) ** 2
    norm += reference[i]! ** 2
  }
  return Math.sqrt(difference / norm)
}
