/** Saves a stage after an update while training goes on: a lazy snapshot, written from the copy. */
import type { StageTensors } from './layout.ts'
import { LazySnapshot, type YieldToLoop } from './lazy-snapshot.ts'
import { type StageSave, saveStage } from './save.ts'
import type { Store } from './store.ts'

export class StageSaver {
  readonly #store: Store
  readonly #snapshot: LazySnapshot
  #writing: Promise<unknown> = Promise.resolve()

  /** @param turn between two pieces of the copy: whatever else there is to do is done in it */
  constructor(store: Store, turn: YieldToLoop) {
    this.#store = store
    this.#snapshot = new LazySnapshot(turn)
  }

  /**
   * Begins to save, between two updates. There is room for one copy: if the one before is still being written, this waits.
   * @param save with the live tensors
   * @returns `saved` resolves when this stage's part lies in the store, and rejects if it cannot be written; to be awaited
   * or caught
   */
  async begin(save: StageSave): Promise<{ readonly saved: Promise<{ bytes: number }> }> {
    await this.#writing
    const saved = this.#write(save)
    this.#writing = saved.catch(() => {})
    return { saved }
  }

  /** Must be called before each update. @returns elements that it had to wait for */
  beforeUpdate(): number {
    return this.#snapshot.beforeUpdate()
  }

  async #write(save: StageSave): Promise<{ bytes: number }> {
    const { weights, firstMoment, secondMoment } = save.tensors
    const copies = await this.#snapshot.begin([weights, firstMoment, secondMoment])
    const tensors: StageTensors = {
      weights: copies[0]!,
      firstMoment: copies[1]!,
      secondMoment: copies[2]!,
    }
    return saveStage(this.#store, { ...save, tensors })
  }
}
